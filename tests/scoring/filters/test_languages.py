"""Another language is found, whole or mixed in; names and loan words are none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FOREIGN = [
    "Ich habe das Geld schon am Montag überwiesen und warte noch.", "Nous avons payé le loyer, mais il ne reste rien pour les vacances.", "私は来月引っ越します。",
    "Он сказал, что позвонит завтра.", "The rent went up, pero no puedo irme porque mi madre vive aquí.", "Abbiamo già speso tutto per la macchina e adesso aspettiamo.",
]  # fmt: skip
HONEST = [
    "My abuela calls it the colchón.", "A café near Łódź, on Świętokrzyska, took the order.", "ok. tmrw then", "Rent $900, phone $40, bus $65, food $310, card $115.",
    "The α and β of the fund, whatever they are.",
]  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN)
def test_another_language_is_dropped(judge, text) -> None:
    assert judge(text).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_names_and_loan_words_are_kept(judge, text) -> None:
    assert judge(text) == KEEP
