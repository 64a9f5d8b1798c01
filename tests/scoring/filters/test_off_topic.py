"""A conversation about another field, or plainly about another topic of the spec, is left to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.planning.quality import QualityRule
from convoforge.planning.spec import load_spec
from convoforge.planning.templates import Library
from convoforge.scoring import KEEP, FilterVerdict, Rubric, ScoringContext
from convoforge.scoring.filters.off_topic import off_topic
from convoforge.settings import ROOT

ADVICE, SUPPORT = (load_spec(name, ROOT / "configs") for name in ("financial-advice", "customer-support"))
SOUP = "The soup tastes of tin. / Which pot did you use? / The old one of my grandmother. / Take enamel, then, and boil tomatoes in nothing else."
BIRDS = "Something has eaten the seeds. / Squirrels or pigeons? / Gray, with a tail. / Hang the feeder from a wire, two yards from the trunk."
CAMERA = "The camera is dark. / Is the camera plugged in? / It goes offline at dusk. / Offline at dusk means the router, so move the camera closer."
FUNDS = "Which index do you mean? / The index of the whole market. / And its fees? / A fund like that has fees of a tenth of a percent, and the fund is all you need."

WRONG = [
    ("market volatility", SOUP), ("retirement planning", BIRDS), ("portfolio diversification", SOUP), ("rebalancing", BIRDS),
    ("bonds and interest rates", CAMERA), ("life and disability insurance", SOUP), ("emergency savings", FUNDS), ("old employer plans", FUNDS),
    ("late delivery", BIRDS), ("refund that has not arrived", SOUP), ("warranty claim", BIRDS), ("Wi-Fi set-up", SOUP),
]  # fmt: skip
RIGHT = [
    ("market volatility", "It fell again. / Markets do. / By a third? / By a third, twice in my life."),
    ("retirement planning", "I stop in May. / What comes in then? / A pension. / Then you retire on two thirds of your wages."),
    ("portfolio diversification", "All of it is in one share. / Since when? / Since my uncle. / Spread it: a diverse lot falls less."),
    ("rebalancing", "It's 80 to 20 now. / And was? / 60. / Then rebalance once, in January."),
    ("bonds and interest rates", "I want it safe. / Till when? / June. / A bond that ends in June, then."),
    ("life and disability insurance", "Who'd feed them? / How old are they? / Two and five. / Insure the years until they earn."),
    ("index funds and fees", "What's it cost me? / See page two. / 1.4? / That fee eats a third."),
    ("inflation and cash", "It melts. / How much of it? / 3% a year. / Only what's over six months; inflation takes that too."),
    ("late delivery", "Nobody came. / Which order? / 40312. / It's delivered tomorrow, says the depot."),
    ("Wi-Fi set-up", "The light blinks. / Blue? / Red. / Then it found no wi fi; hold the button."),
    ("locked account", SOUP),  # frequent words only: nothing can be told
    ("emergency savings", "Where does it go first? / To the debt. / Not to the fund? / The card costs more than the fund brings."),  # without its words
    ("market volatility", "Why so little? / You own an index. / And? / You pay no one."),  # of the field
    ("market volatility", "OK? / Yes."),
]  # fmt: skip


def talk(text: str) -> Conversation:
    return Conversation(tuple(Turn("assistant" if number % 2 else "user", said) for number, said in enumerate(text.split(" / "))))


def ask(topic: str, text: str, **context: object) -> FilterVerdict:
    topics = next((spec.axes.topic for spec in (ADVICE, SUPPORT) if topic in spec.axes.topic), ())
    found = off_topic.judge(talk(text), ScoringContext(**{"topic": topic, "topics": topics, **context}))  # type: ignore[arg-type]
    assert isinstance(found, FilterVerdict)
    return found


@pytest.mark.parametrize(("topic", "text"), WRONG)
def test_what_is_about_something_else_is_left_to_a_person(topic: str, text: str) -> None:
    assert ask(topic, text) == FilterVerdict("revise", f"'{topic}' is nowhere in the conversation")


@pytest.mark.parametrize(("topic", "text"), RIGHT)
def test_what_serves_its_topic_or_may_do_so_is_kept(topic: str, text: str) -> None:
    assert ask(topic, text) == KEEP


def test_other_languages_and_specs_of_few_topics_are_not_judged() -> None:
    assert ask("late delivery", SOUP, language={"user": "de", "assistant": "en"}) == KEEP
    assert ask("late delivery", SOUP, topics=("late delivery", "lost parcel")) == KEEP


def test_the_rubric_gives_the_topics_and_is_another_one_with_other_topics() -> None:
    library = Library.at(ROOT / "configs")
    spec = ADVICE.model_copy(update={"quality": QualityRule(filters=("off_topic",))})
    rubric = Rubric.of(spec, library)
    (*_, found) = rubric.score(talk(SOUP), ScoringContext(topic="rebalancing")).quality.results
    assert (found.name, found.verdict) == ("off_topic", "revise")
    axes = spec.axes.model_copy(update={"topic": (*spec.axes.topic, "soup")})
    assert Rubric.of(spec.model_copy(update={"axes": axes}), library).version != rubric.version


@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=6), st.lists(st.text(max_size=20), max_size=12))
def test_any_text_can_be_read(topic: str, said: list[str], topics: list[str]) -> None:
    field = (*topics, *ADVICE.axes.topic)
    found = off_topic.judge(talk(" / ".join(said)), ScoringContext(topic=topic, topics=field))
    assert isinstance(found, FilterVerdict)
    assert len(found.reason) <= 120
