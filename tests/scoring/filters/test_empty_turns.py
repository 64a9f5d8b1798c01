"""A turn that says nothing drops the conversation; a short answer does not."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FAULTS = [
    "\u200b\u200b", "\u3164", "\u2800 \u2800", "\u00a0", "…", "- - -", "?!", "N/A", "n / a", "null", "[no reply]", "(left empty)", "*silence*",
    "<empty>", "Content removed.", "Answer to follow.", "Nothing to add.", "As discussed.", "It is what it is.", "Hm. Well. So.", "👍",
]  # fmt: skip
ANSWERS = [
    "No.",
    "Both.",
    "24",
    "$400",
    "Nothing yet.",
    "None of them.",
    "No answer since Monday.",
    "I do.",
    "What do you mean?",
    "Not really.",
    "About four.",
    "They'd say no to that, and so would she.",
    "Tell me what they said.",
    "I'll see what he says.",
]


@pytest.mark.parametrize("text", FAULTS)
def test_a_turn_that_says_nothing_is_dropped(judge, text) -> None:
    found = judge(text)
    assert found.verdict == "drop"
    assert found.reason.startswith("turn 4 (assistant): '")


@pytest.mark.parametrize("text", ANSWERS)
def test_a_short_answer_is_kept(judge, text) -> None:
    assert judge(text, "user") == KEEP


def test_an_emoji_says_something_where_emoji_are_allowed(judge) -> None:
    assert judge("👍", allow=frozenset({"emoji"})) == KEEP


def test_the_reason_shows_what_nobody_sees(judge) -> None:
    assert judge("\u200b").reason == r"turn 4 (assistant): '\u200b' says nothing: it has no letter and no digit"
