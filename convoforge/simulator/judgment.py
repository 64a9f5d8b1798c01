"""Answers as a judge might: few points where a filter finds a fault, many elsewhere. The same prompt and seed give the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from random import Random

import orjson

from convoforge.models import Conversation, Turn
from convoforge.planning.quality import DEFAULT_FILTERS, FilterChoice
from convoforge.scoring.contract import Scorer, ScoringContext
from convoforge.scoring.judge import read_material

DISLIKED_SHARE = 0.04
"""Share of the conversations without a fault of which one criterion gets few points, so that a threshold has something to tell."""

QUOTED = 120
"""Maximum characters of a quote."""


def write_judgment(prompt: str, criteria: Mapping[str, int], seed: int, *, misquoted: bool = False) -> str:
    """Write points for each criterion, of at most so many, as JSON. `misquoted` quotes what stands nowhere."""
    rng, material = Random(seed), read_material(prompt)
    turns = tuple(Turn(turn["role"], turn["content"]) for turn in material["conversation"])
    context = ScoringContext(emotion=material["emotion"], topic=material["topic"], tier=material["tier"])
    fault = _find_fault(Conversation(turns), context)
    disliked = rng.choice([*criteria]) if rng.random() < DISLIKED_SHARE else None
    longest = max(turns, key=lambda turn: len(turn.content)).content
    quote = "words that nobody has said here" if misquoted else " ".join(longest.split())[:QUOTED]

    def judge(name: str, most: int) -> dict[str, object]:
        low, reason = (
            bool(fault) or name == disliked,
            fault or ("it could be anybody's" if name == disliked else "it fits the brief"),
        )
        return {
            "quote": quote,
            "reason": reason,
            "points": rng.choice((1, min(2, most))) if low else max(1, most - rng.randrange(2)),
        }

    return orjson.dumps({name: judge(name, most) for name, most in criteria.items()}).decode()


def _find_fault(conversation: Conversation, context: ScoringContext) -> str:
    """The first fault that a filter finds; empty if there is none."""
    found = (one.result(conversation, context) for one in _find_filters())
    return next((f"{one.name}: {one.reason}" for one in found if one.verdict != "keep"), "")


@cache
def _find_filters() -> Sequence[Scorer]:
    from convoforge.scoring.registry import find_filters  # with what they need, which takes a while to import

    return find_filters([FilterChoice(name=DEFAULT_FILTERS)])
