"""Circles within a turn, echoes of earlier turns, tails of thanks; figures taken up, and a point made again, are none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

CIRCLES = [
    "The card comes first. The card comes first. The card comes first.", "no no no no no no no", "Call the bank, call the shop, call the bank, call the shop, call the bank.",
    "Write down the date and the sum. Then sleep. Write down the date and the sum.", "ahahahahahahahahah", "Wait!!!!!!!!!!",
    "You pay it because it is due, and it is due because you pay it, so what is due is what you pay, and you pay what is due when it is due.",
]  # fmt: skip
HONEST = [
    "No. Not this week, not with that card, and not for that price.", "I paid in March. I paid in April. I paid in May. And in June they say I never paid.", "2:10, 2:10, 2:11, 2:10. Four nights.",
    "So on Friday I get to choose. On Friday I get to choose, yes?", "January $500, February $500, March $500, and then the $1,500 is there.", "It went off and on and off and on.",
    "Then $2,500 for the van and $3,800 for the card, as we said; what's new is January, and for January you call them.",
]  # fmt: skip


@pytest.mark.parametrize("text", CIRCLES)
def test_a_turn_that_goes_round_in_circles_is_dropped(judge, text) -> None:
    found = judge(text)
    assert found.verdict == "drop"
    assert found.reason.endswith("is said again and again")


@pytest.mark.parametrize("text", HONEST)
def test_emphasis_and_figures_are_kept(judge, text) -> None:
    assert judge(text) == KEEP


def test_an_assistant_that_only_returns_what_was_said_is_dropped(judge) -> None:
    parrot = "So your brother says to keep all of it because cash is what you sleep on, and he lost his job in the spring."
    assert judge(parrot, at=6).reason.endswith("says turn 5 again")


def test_an_answer_given_twice_is_dropped_whatever_its_words(judge) -> None:
    again = "Keep $2,500 for the van, let $3,800 go to the card today; what's left on it, $2,000, is gone by autumn at $400."
    assert judge(again, at=6).reason.endswith("says turn 4 again")


def test_a_tail_of_thanks_is_dropped_and_one_exchange_of_thanks_is_kept(judge) -> None:
    tail = ("Thank you so much!", "You're very welcome.", "Have a lovely evening!", "You too, take care!")
    assert judge(tail, "user", 5).reason == "turn 5 (user): 'Thank you so much!' begins a tail of 4 turns of thanks"
    assert judge(tail[:2], "user", 7) == KEEP


def test_the_topic_may_be_named_as_often_as_one_likes(judge) -> None:
    said = "Emergency savings of $2,500, then?"
    assert judge((said, "Emergency savings of $2,500 cover two repairs."), "user", 5, topic="emergency savings") == KEEP
