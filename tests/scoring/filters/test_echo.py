"""Turns that repeat the brief they were written from; a fact of the brief in a few words, and a quotation of nobody's, are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.planning.spec import load_spec
from convoforge.planning.templates import Library
from convoforge.scoring import KEEP, Rubric, ScoringContext
from convoforge.scoring.filters.echo import echo
from convoforge.settings import ROOT

LIBRARY = Library.at(ROOT / "configs")
ADVICE, SUPPORT = (LIBRARY.template(name).text for name in ("advice", "support"))


@pytest.mark.parametrize(
    "brief, text",
    [
        (ADVICE, "Down $21,000 on $140,000 is 15 percent; anyone would look twice, I think."),
        (ADVICE, "Well, the adviser knows what this client has written and nothing more, so tell me."),
        (ADVICE, "WRITE 8 TO 16 TURNS, STRICTLY ALTERNATING, THE USER FIRST."),
        (SUPPORT, "Order 48213. Out for delivery since Thursday, says the page. I took Thursday off for it."),
        (SUPPORT, "Emotion: fear\nTier: template\nWhere is my parcel?"),
    ],
)
def test_the_brief_in_a_turn_is_dropped(judge, brief, text) -> None:
    found = judge(text, brief=brief)
    assert found.verdict == "drop"
    assert found.reason.startswith("turn 4 (assistant): '")


@pytest.mark.parametrize(
    "text",
    [
        "You can send it back within 30 days of delivery, opened or not.",
        "When will you first need to spend any of this money?",
        "Tarnbrook Plus costs $6 a month and runs to the end of the month you've paid for.",
        "Situation: two kids, one income.",
    ],
)
def test_a_fact_of_the_brief_is_kept(judge, text) -> None:
    assert judge(text, brief=f"{ADVICE}\n{SUPPORT}") == KEEP


def test_nothing_is_an_echo_without_a_brief(judge) -> None:
    assert judge("Down $21,000 on $140,000 is 15 percent; anyone would look twice.") == KEEP


WORDS = [f"word{number}" for number in range(60)]
BRIEF = " ".join(WORDS)


@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 6))
def test_a_run_of_twelve_words_is_found_wherever_it_stands_and_eleven_are_not(first, length, before) -> None:
    run = WORDS[first : first + length]
    turn = Turn("user", " ".join(["so"] * before + run + ["then"]))
    found = echo.judge(Conversation((turn,)), ScoringContext(brief=BRIEF))
    assert (found.verdict == "drop") == (len(run) >= 12)


def test_a_persona_more_scores_nothing_anew_and_another_template_does() -> None:
    spec = load_spec("demo", ROOT / "configs")
    axes = spec.axes.model_copy(update={"persona": (*spec.axes.persona, "Gig Worker")})
    wider = spec.model_copy(update={"axes": axes})
    assert Rubric.of(wider, LIBRARY).version == Rubric.of(spec, LIBRARY).version
    assert "Gig Worker" not in spec.axes.persona and LIBRARY.describes("Gig Worker")  # its description could be echoed
    other = spec.model_copy(update={"templates": spec.templates[:1]})
    assert Rubric.of(other, LIBRARY).version != Rubric.of(spec, LIBRARY).version
