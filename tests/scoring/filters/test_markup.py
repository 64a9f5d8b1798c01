"""Markup is dropped, each kind where the spec does not allow it."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FAULTS = [
    ("markdown", "**Wait** ten days."), ("markdown", "# The plan\nWait."), ("markdown", "It's _really_ small."), ("markdown", "[the form](forms)"), ("markdown", "| a | b |\n|---|---|"),
    ("markdown", "It pays half [2]."), ("markdown", r"\frac{1}{2} of it"), ("markdown", "Next steps:\n\nWait."), ("lists", "- wait\n- call"), ("lists", "1. wait\n2. call"), ("lists", "• wait"),
    ("lists", "a) wait; b) call; c) pay"), ("lists", "First: wait. Second: call. Third: pay."), ("code", "Use `pip` for it."), ("code", "```\nwait\n```"), ("code", "fee = 400; rent = 2;"),
    ("json", 'It is {"fee": 400}.'), ("json", '"role": "user"'), ("html", "<b>Wait</b>"), ("html", "Wait.<br>"), ("stage_directions", "(sighs) Wait."), ("stage_directions", "[pauses]"),
    ("stage_directions", "(The client nods slowly.) Yes."), ("stage_directions", "(a long pause)"), ("emoji", "Wait 🙂"), ("emoji", "✅ done"), ("emoji", ":warning: hot"),
]  # fmt: skip
HONEST = [
    "$1,200 * 3 = $3,600, and 2*3", "My #1 worry, order #48213", "I earn $4,200 - rent is $1,500 - and so on", "the device back_door_2", "There's a 1. on the box and a 2. on the bag.",
    "My wife (she's laughing as I type) says so.", "The 401(k) (the old one) is small.", "a <5 minute job, > 3 for me", "Honestly :) no", "Sigh. I knew it.", "Settings > Network > Wi-Fi",
    "(look at the label first)", "(takes a while)", "the * means taxed", "~$400", "f**k that",
]  # fmt: skip


@pytest.mark.parametrize("kind, text", FAULTS)
def test_markup_is_dropped_unless_it_is_allowed(judge, kind, text) -> None:
    assert judge(text).verdict == "drop"
    assert judge(text, allow=frozenset({kind})).reason != judge(text).reason


@pytest.mark.parametrize("text", HONEST)
def test_plain_talk_is_kept(judge, text) -> None:
    assert judge(text, "user") == KEEP


def test_a_stage_direction_in_asterisks_is_found_where_markdown_is_allowed(judge) -> None:
    assert judge("*sighs* Wait.", allow=frozenset({"markdown"})).verdict == "drop"
    assert judge("It is *very* small.", allow=frozenset({"markdown"})) == KEEP
