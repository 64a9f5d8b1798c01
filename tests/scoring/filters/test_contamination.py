"""Evaluation texts are found where a run of twelve words, or a short item as a whole, stands in a turn."""

from __future__ import annotations

import json

from convoforge.scoring import KEEP

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
