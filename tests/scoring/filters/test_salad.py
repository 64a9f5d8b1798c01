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
    "the and of my with was door the in to be", "wq\nzz\np\n4\nro\nk", "lamp the lamp lamps a lamp of lamping my lamp and lamplit", "it ;;; ^^ ~~ $$ it",
    "thevancameontuesdayandthemanwouldnotwait", "1f9c 77ab 0e2d 4c1a", "01101000 01100101 01111001", "ʇɥƃᴉɹ ʇou sᴉ llᴉq ǝɥʇ",
    "Lamp river copper window Tuesday gravel simple orange ladder quiet mustard stone.", "th bnk tk th mny frm my ccnt nd nw",
]  # fmt: skip
HONEST = [
    "Sell, sell, sell, says my brother. Sell everything, sell now, he says.",
    "rent\ngas\nfood\ncar\nfun",
    "Batch 3c, bin 4d, row 5e, rack 6f, case 7b.",
    "$$$ is what it costs, $$ on the other menu, ~ 40 a head.",
    "No. Never. Not for that price.",
    "$40 bus, $65 phone, $310 food.",
    "Hmm. Well. The 401k then?",
    "Model B7-204, the one with the blue light.",
    "pls check, thx",
    "My to-do list, the in-laws, and the at sign of the address.",
    "Half in plan A and half in plan B, the way it's of use.",
    "It said the the twice.",
    "Mon\n410\n620\n0\n880",
    "Room 4b, gate c3, seat 12f.",
    "The card? The card is at $40, and the other card has a limit.",
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
