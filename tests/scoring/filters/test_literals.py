"""What a pattern needs is in all that it matches."""

from __future__ import annotations

import re

import pytest

from benchmarks.labelled import read_labelled
from convoforge.models import Conversation, Turn
from convoforge.scoring.filters.grammar import read_grammar, split_alternatives
from convoforge.scoring.filters.literals import find_literals
from convoforge.scoring.patterns import WORD_EDGE, add_needles, list_hits
from convoforge.scoring.text import read_turns

NEEDED = [
    (r"\bgo (?:to hell|jump)\b", {"\bgo to hell\b", "\bgo jump\b"}),
    (r"\bas (?:an? )?ai model\b", {"\bas a ai model\b", "\bas an ai model\b", "\bas ai model\b"}),
    (r"\bwhat .{0,20}\bis wrong\b", {"\bis wrong\b"}),
    (r"(?:stop|quit) (?:whining|moaning)(?! about)", {"stop whining", "stop moaning", "quit whining", "quit moaning"}),
    (r"\b(?:idiots?|cretins)\b", {"\bidiot\b", "\bidiots\b", "\bcretins\b"}),
    (r"\w+ly (?:\d+|x)", None),
    (r"(?:\w+ )?ears", {"ears"}),
    (r"\b(?:\w+ )?ears", {"\bears"}),
    (r"ears(?:er| \w+|[,;] )ago?s?", {"ears"}),
    (r"\bmy (?:\w+, ){0,2}ears\b", {"\bears\b"}),
    (r"(?:my|\d+)ears", {"ears"}),
    (r"(?:never|\d) mind|\bgo", None),
]


@pytest.mark.parametrize(("pattern", "needed"), NEEDED)
def test_a_pattern_needs_one_of_its_literals(pattern: str, needed: set[str] | None) -> None:
    found = find_literals(pattern)
    assert found == (None if needed is None else frozenset(needed))


@pytest.mark.parametrize("name", ["insults", "meta_talk", "refusals"])
def test_whatever_a_phrase_matches_holds_what_it_needs(name: str) -> None:
    sentences = {one for each in read_labelled()[::7] for turn in read_turns(each.conversation) for one in turn.sentences}
    derived = [(one, found) for one in read_grammar(name) if not one.then and (found := find_literals(one.starts))]
    assert derived
    for phrase, found in derived:
        starts = re.compile(phrase.starts)
        needles = re.compile("|".join(re.escape(text).replace(re.escape(WORD_EDGE), r"\b") for text in found))
        for sentence in sentences:
            if match := starts.search(sentence):
                assert needles.search(sentence, *match.span()), (phrase.starts, sentence)
                assert any(text.strip(WORD_EDGE) in match[0] for text in found)


@pytest.mark.parametrize("name", ["insults", "meta_talk", "refusals"])
def test_all_that_is_compiled_when_it_is_first_tried_can_be(name: str) -> None:
    for phrase in read_grammar(name):
        assert all(re.compile(one) for one in (phrase.starts, phrase.then, phrase.unless))


@pytest.mark.parametrize(
    ("needle", "found"),
    [("ears", 4), (r"\bears", 3), (r"ears\b", 3), (r"\bears\b", 2)],
)
def test_a_needle_with_an_edge_is_found_as_a_word_alone(needle: str, found: int) -> None:
    needle = needle.replace(r"\b", WORD_EDGE)
    add_needles([needle])
    said = Conversation((Turn("user", "Ears first, years later"), Turn("assistant", "'earshot', up to my ears")))
    assert [hit for _, hit in list_hits(said)].count(needle) == found


def test_each_alternative_of_a_row_is_tried_by_itself() -> None:
    alternatives = list(split_alternatives(r"one|(?:two|three)[|)]|four\|five|[^]|]six"))
    assert alternatives == ["one", "(?:two|three)[|)]", r"four\|five", "[^]|]six"]
