"""Pairs of words say whether a text is in an order of English."""

from __future__ import annotations

import pytest

from convoforge.scoring.filters.pairs import find_heaviest, list_unknown

SENTENCES = [
    "you have to pay the rent to the landlord at the end of the month",
    "the insurance covers damage that is caused by water from a burst pipe",
    "i don't think he'll mind if we're late",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_weighs_less_than_the_same_words_in_another_order(sentence: str) -> None:
    words = sentence.split()
    shuffled = " ".join(words[1::2] + words[::2])
    assert find_heaviest(sentence)[0] < 3 < find_heaviest(shuffled)[0]


def test_the_heaviest_run_is_named() -> None:
    weight, run = find_heaviest(
        "it should be back by noon. of loan the which rate is and for by month on pays with. then we'll see."
    )
    assert weight > 6
    assert run == "of loan the which rate is and for by month on pays with."


def test_names_numbers_and_marks_end_no_sentence_and_prove_nothing() -> None:
    assert find_heaviest("zbigniew 40 szczepanski 77 krzysztof 3 nguyen") == (0, "")
    assert find_heaviest("") == (0, "")


def test_words_of_english_are_known() -> None:
    assert sorted(list_unknown(frozenset("the larpish wendle is on the way".split()))) == ["larpish", "wendle"]
