"""Evaluation texts are found where a run of twelve words, or a short item as a whole, stands in a turn."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.scoring import KEEP, ScoringContext
from convoforge.scoring.filters.contamination import contamination

ITEM = "A baker sells forty loaves on Monday and twice as many on each of the three days that follow; how many loaves are sold?"
SHORT = "Which river runs through the old town?"
FILE = "\n".join(json.dumps({"question": text, "answer": 7}) for text in (ITEM, SHORT))


def test_a_long_item_is_found_by_a_part_of_it(judge) -> None:
    part = "My daughter's sheet says a baker sells forty loaves on Monday, and twice as many on each of them."
    found = judge(part, evaluation=(FILE,))
    assert found.verdict == "drop"
    assert found.reason.endswith("stands in the evaluation data")


def test_a_short_item_is_found_whole(judge) -> None:
    assert judge(f"They asked me: {SHORT} I didn't know.", evaluation=(FILE,)).verdict == "drop"


def test_ten_words_alone_and_other_texts_are_kept(judge) -> None:
    assert judge("He says a baker sells forty loaves on Monday and twice as it rains.", evaluation=(FILE,)) == KEEP
    assert judge("The river floods the old town.", evaluation=(FILE,)) == KEEP
    assert judge(ITEM) == KEEP


def ask(text: str, evaluation: str):
    return contamination.judge(Conversation((Turn("user", text),)), ScoringContext(evaluation=(evaluation,)))


def test_lines_may_be_folded_and_json_may_be_one_document() -> None:
    assert ask(ITEM, ITEM.replace(" and twice", "\nand twice").replace(" three days", "\nthree days")).verdict == "drop"
    assert ask(ITEM, json.dumps([{"question": ITEM}], indent=1)).verdict == "drop"


@given(st.text(), st.text())
def test_any_text_is_read(text, evaluation) -> None:
    ask(text, evaluation)


WORDS = [f"word{number}" for number in range(60)]


@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 6))
def test_twelve_words_in_a_row_are_three_runs_of_ten_and_eleven_are_not(first, length, before) -> None:
    run = WORDS[first : first + length]
    assert (ask(" ".join(["so"] * before + run + ["then"]), " ".join(WORDS)).verdict == "drop") == (len(run) >= 12)
