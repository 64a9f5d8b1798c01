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
    "month the you at pay end rent of to the have landlord", "Insurance a covers that damage by caused is water burst a pipe from.", "is box the where my it said Friday they would that come",
    "umbrella ledger tomato quickly seventeen bridge harmonica rent", "Gronti blave the skorfen, and mivel drunt the larpish wendle.", "hte lpug si ont wroknig nad teh lihgt is rde",
    "Salt. Window. Percent. Nephew. Drum? Yellow.", "xq7 zz9 lk2 pp0 ww8 mm3 vv1 gg5", "Or it may which, then, but so that, whereas and hence although thus nor.",
    "Llac Anna erofeb noon, esaelp", "Yo urc ard wi llb ese nt ag ain to mor row.", "Payees pay payers what paying pays, paid by payment.", "Dry the, it wash, fold and in my drawer put the.",
    "It should be back by noon.\nOf loan the which rate is and for by month on pays with.\nThen we'll see.",
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
    "My, my. All of that, my friend?",
    "ssid ok, wpa2 ok, dhcp not ok, dns idk",
    "What an A with a hat is doing on my bill, I'd like to know, and what the if in it means.",
    "A payment that was paid can't be paid back by the payer's bank once the payee has been paid.",
    "Mon\n410\n620\n0\n880",
    "Room 4b, gate c3, seat 12f.",
    "The card? The card is at $40, and the other card has a limit.",
    "My daughter's getting married in May and I'd promised her $8,000.",
    "Rent, food, phone, gas, insurance, gym, daycare. That's all of it.",
    "need cheap flight chicago lisbon early june two adults one kid",
    "Sand, prime, sand again, paint, wait a day, paint.",
    "I wire $300 home to Kraków through my cousin Zbigniew Szczepanski, and Mrs. Nguyễn Thi Hoa knows a cheaper way.",
    "sry typing w one hand, teh baby is on teh other. its 1450 for daycar and 2300 mortage",
]


@pytest.mark.parametrize("text", NOISE)
def test_noise_is_dropped(judge, text) -> None:
    assert judge(text).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_short_and_clipped_turns_are_kept(judge, text) -> None:
    assert judge(text) == KEEP


def test_only_english_is_judged_by_its_pairs(judge) -> None:
    assert judge("bil ik wil morgen niet de naar winkel gaan want regent het", language="nl") == KEEP


@given(st.text(max_size=200))
def test_any_text_can_be_read(text) -> None:
    assert isinstance(salad.judge(Conversation((Turn("user", text),)), ScoringContext()), FilterVerdict)
