"""A turn out of all proportion is left to a person; a short answer, or a long first message, is not."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

LECTURE = "The fee is taken each year from the balance, whether the year was good or bad, and nobody sends a bill for it. " * 9


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_lecture_is_left_to_a_person(judge, role) -> None:
    found = judge(LECTURE, role)
    assert found.verdict == "revise"
    assert f"has {len(LECTURE):,} characters" in found.reason


@pytest.mark.parametrize("text", ["No.", "Depends.", "Ask HR.", "4%.", "Will do."])
def test_a_word_where_an_answer_was_asked_for_is_left_to_a_person(judge, text) -> None:
    assert judge(text).verdict == "revise"


@pytest.mark.parametrize("text", ["March.", "24 percent.", "Yes, the second one.", "Since Sunday."])
def test_a_client_may_answer_in_a_word(judge, text) -> None:
    assert judge(text, "user", 3) == KEEP


@pytest.mark.parametrize("text", ["Both.", "Unplug it now, and switch the breaker off first.", LECTURE[:640]])
def test_what_says_enough_is_kept(judge, text) -> None:
    assert judge(text) == KEEP


def test_a_client_who_opens_or_answers_with_a_shrug_is_left_to_a_person(judge) -> None:
    assert judge("Refund.", "user", 1).verdict == judge("Whatever.", "user", 3).verdict == "revise"
