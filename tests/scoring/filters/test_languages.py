"""Another language is found, whole or mixed in; names and loan words are none."""

from __future__ import annotations

import pytest

from convoforge.errors import ConfigError
from convoforge.models import Conversation, Turn
from convoforge.planning.quality import FilterChoice
from convoforge.planning.spec import change_spec, load_spec
from convoforge.planning.templates import Library
from convoforge.scoring import KEEP, Rubric, ScoringContext
from convoforge.scoring.filters import LANGUAGES
from convoforge.scoring.filters.languages import _load_detector
from convoforge.scoring.registry import find_filters
from convoforge.settings import ROOT

FOREIGN = [
    "Ich habe das Geld schon am Montag überwiesen und warte noch.", "Nous avons payé le loyer, mais il ne reste rien pour les vacances.", "私は来月引っ越します。",
    "Он сказал, что позвонит завтра.", "The rent went up, pero no puedo irme porque mi madre vive aquí.",
    "The boiler is old, und der Monteur kommt erst nächste Woche Donnerstag.", "It closes at six, mais il faut arriver avant cinq heures.",
    "Abbiamo già speso tutto per la macchina e adesso aspettiamo.",
]  # fmt: skip
HONEST = [
    "Call José García Márquez, Calle de Alcalá, Madrid, Spain before noon.",
    "Las Vegas, Los Angeles, San José, Santa Fe, El Paso, Baton Rouge: which office?",
    "My abuela calls it the colchón.", "A café near Łódź, on Świętokrzyska, took the order.", "ok. tmrw then", "Rent $900, phone $40, bus $65, food $310, card $115.",
    "Flat 1 300, flat 2 280, flat 3 310, flat 4 0.", "Her pièce de résistance, as she says, is crème brûlée at Café Müller.",
    "The α and β of the fund, whatever they are.",
]  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN)
def test_another_language_is_dropped(judge, text) -> None:
    assert judge(text).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_names_and_loan_words_are_kept(judge, text) -> None:
    assert judge(text) == KEEP


def test_a_spec_in_another_language_is_asked_of_the_detector(judge) -> None:
    found = judge("Ich habe das Geld schon am Montag überwiesen und warte noch.", language="de")
    assert "de" in found.reason and found.verdict == "drop"  # the turns around it are English


def test_each_role_may_have_a_language_of_its_own() -> None:
    talk = Conversation(
        (Turn("user", "I have paid the rent on Monday and I am still waiting for the key."), Turn("assistant", FOREIGN[0]))
    )
    (one,) = find_filters([FilterChoice(name="languages")])
    assert one.judge(talk, ScoringContext(language={"user": "en", "assistant": "de"})) == KEEP
    assert one.judge(talk, ScoringContext(language={"user": "de", "assistant": "en"})) != KEEP


def test_a_code_that_the_detector_does_not_have_is_refused_where_the_filter_is_asked() -> None:
    found = _load_detector().detect("Who knows?", model="lite", k=999, threshold=-1.0)
    assert {one["lang"] for one in found} == LANGUAGES
    spec, library = load_spec("demo", ROOT / "configs"), Library.at(ROOT / "configs")
    for language in ("eng", {"user": "en", "assistant": "jp"}):
        with pytest.raises(ConfigError, match="language: the filter languages knows no '(eng|jp)', and would drop every"):
            Rubric.of(change_spec(spec, language=language), library)
        Rubric.of(change_spec(spec, language=language, quality={"filters": ["default", {"languages": "off"}]}), library)
