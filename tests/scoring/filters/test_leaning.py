"""The weights of what sentences lean to: what they find that no phrase names, and what they let pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.scoring.filters.leaning import read_leaning
from convoforge.scoring.text import list_words, read_turns

LEANS = {"refusals": ("I won't be discussing that topic with you.", "I'm not comfortable giving any opinion on this.")}
HONEST = "The card costs you about $115 a month in interest. What would break if the account were empty?"


def read(text: str) -> Conversation:
    return Conversation((Turn("assistant", text),))


@pytest.mark.parametrize("kind", LEANS)
def test_what_leans_to_a_kind_is_found_and_prose_is_not(kind: str) -> None:
    leaning = read_leaning(kind)
    for text in LEANS[kind]:
        turn, words = read_turns(read(text))[0], list_words(read(text))[0]
        assert leaning.find(turn, words) == text.lower()
    assert leaning.find(read_turns(read(HONEST))[0], list_words(read(HONEST))[0]) is None


@given(st.text(max_size=200))
def test_any_text_is_weighed(text: str) -> None:
    drawn = read(text)
    for kind in LEANS:
        found = read_leaning(kind).find(read_turns(drawn)[0], list_words(drawn)[0])
        assert found is None or found in read_turns(drawn)[0].sentences
