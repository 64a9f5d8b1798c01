"""What a pattern needs is in all that it matches."""

from __future__ import annotations

import pytest

from benchmarks.labelled import read_labelled
from convoforge.scoring.filters.grammar import read_grammar
from convoforge.scoring.filters.literals import find_literals
from convoforge.scoring.text import read_turns

NEEDED = [
    (r"\bgo (?:to hell|jump)\b", {"go to hell", "go jump"}),
    (r"\bas (?:an? )?ai model\b", {"as a ai model", "as an ai model", "as ai model"}),
    (r"\bwhat .{0,20}\bis wrong\b", {"is wrong"}),
    (r"(?:stop|quit) (?:whining|moaning)(?! about)", {"stop whining", "stop moaning", "quit whining", "quit moaning"}),
    (r"\b(?:idiots?|cretins)\b", {"idiot", "cretins"}),
    (r"\w+ly (?:\d+|x)", None),
    (r"(?:never|\d) mind|\bgo", None),
]


@pytest.mark.parametrize(("pattern", "needed"), NEEDED)
def test_a_pattern_needs_one_of_its_literals(pattern: str, needed: set[str] | None) -> None:
    found = find_literals(pattern)
    assert found == (None if needed is None else frozenset(needed))


@pytest.mark.parametrize("name", ["insults", "meta_talk", "refusals"])
def test_whatever_a_phrase_matches_holds_what_it_needs(name: str) -> None:
    sentences = {one for each in read_labelled()[::7] for turn in read_turns(each.conversation) for one in turn.sentences}
    derived = [(one, found) for one in read_grammar(name) if not one.then and (found := find_literals(one.starts.pattern))]
    assert derived
    for phrase, found in derived:
        for sentence in sentences:
            if match := phrase.starts.search(sentence):
                assert any(text in match[0] for text in found), (phrase.starts.pattern, sentence)
