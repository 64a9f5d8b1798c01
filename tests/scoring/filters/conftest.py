"""A clean conversation, and what the filter of a test's file says when a turn is put into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from convoforge.models import Conversation, Role, Turn
from convoforge.planning.quality import FilterChoice
from convoforge.scoring import FilterVerdict, ScoringContext
from convoforge.scoring.registry import find_filters

CLEAN = (
    "I've got $6,300 in savings and $5,800 on a card at 24 percent, and I can't decide which of the two scares me more.",
    "The card costs you about $115 a month in interest; the savings earn perhaps $20. What would break if the account were empty?",
    "The van, probably. It's a 2011 and the last repair was $900. Without it I don't work, so I keep the money where I can see it.",
    "Then $2,500 stays for the van, and $3,800 goes to the card today. That leaves $2,000 on it, which is gone by autumn at $400.",
    "My brother says to keep all of it, because cash is what you sleep on. He lost his job in the spring, so he would say that.",
    "He's right about the sleep. Your $2,500 covers two repairs like the last one, and the card stays open if there's a third.",
    "Two repairs is about what I get in a year. Fine. And if the hours are cut in January, do I stop the $400 or the savings?",
    "Stop the $400 and pay the least they ask for, until the hours are back. The $2,500 isn't touched for that; it's for the van.",
)

Judge = Callable[..., FilterVerdict]


def put_in(text: str | Sequence[str], role: Role = "assistant", at: int = 4) -> Conversation:
    """The clean conversation with a text, or several in a row, from turn `at` on, counted from 1, or from the one after it that has
    the role."""
    texts = [text] if isinstance(text, str) else list(text)
    index = at - 1 if (at % 2 == 0) == (role == "assistant") else at
    contents = [*CLEAN[:index], *texts, *CLEAN[index + len(texts) :]]
    return Conversation(tuple(Turn("assistant" if number % 2 else "user", content) for number, content in enumerate(contents)))


@pytest.fixture(scope="module")
def judge(request: pytest.FixtureRequest) -> Judge:
    """What the filter says whose tests the file holds: `judge(text, role, at, **context)`."""
    (one,) = find_filters([FilterChoice(name=request.module.__name__.split(".")[-1].removeprefix("test_"))])

    def ask(text: str | Sequence[str], role: Role = "assistant", at: int = 4, **context: object) -> FilterVerdict:
        found = one.judge(put_in(text, role, at), ScoringContext(**context))  # type: ignore[arg-type]
        assert isinstance(found, FilterVerdict)
        return found

    return ask
