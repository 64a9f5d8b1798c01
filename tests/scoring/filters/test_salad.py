"""Noise is found by its form; clipped notes and sums are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.scoring import KEEP, FilterVerdict, ScoringContext
from convoforge.scoring.filters.salad import salad

NOISE = [
    "QmFzZSBzaXh0eSBmb3VyIGlzIG5vIGFuc3dlcg==", "aaaaaaaaaaaaaaaa", "sdfghjkl wqxzzk plkjhg dsfghj", "00 1f 8b 08 5a 3c 9d 11 e0 42 7a 10",
    "Lamp river copper window Tuesday gravel simple orange ladder quiet mustard stone.", "th bnk tk th mny frm my ccnt nd nw",
]  # fmt: skip
HONEST = [
    "No. Never. Not for that price.",
    "$40 bus, $65 phone, $310 food.",
    "Hmm. Well. The 401k then?",
    "Model B7-204, the one with the blue light.",
    "pls check, thx",
]


@pytest.mark.parametrize("text", NOISE)
def test_noise_is_dropped(judge, text) -> None:
    assert judge(text).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_short_and_clipped_turns_are_kept(judge, text) -> None:
    assert judge(text) == KEEP


@given(st.text(max_size=200))
def test_any_text_can_be_read(text) -> None:
    assert isinstance(salad.judge(Conversation((Turn("user", text),)), ScoringContext()), FilterVerdict)
