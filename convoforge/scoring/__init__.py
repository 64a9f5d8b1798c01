"""Is a conversation good enough? Scorers and filters by name, and the score that comes of them. Pure: scoring again is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convoforge.models import Conversation, Quality, ScorerResult
from convoforge.scoring.contract import KEEP, FilterVerdict, Points, Scorer, ScoringContext, scorer
from convoforge.scoring.duplicates import content_hash
from convoforge.scoring.registry import find_scorers

__all__ = [
    "KEEP",
    "Conversation",
    "FilterVerdict",
    "Points",
    "Rubric",
    "Scored",
    "Scorer",
    "ScoringContext",
    "content_hash",
    "scorer",
]


@dataclass(frozen=True, slots=True)
class Scored:
    """A conversation's quality, and the version of the rubric that it is by."""

    rubric: str
    quality: Quality


@dataclass(frozen=True, slots=True)
class Rubric:
    """The scorers of a spec."""

    scorers: tuple[Scorer, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Rubric:
        """The rubric of a spec's `quality.scorers`. Raises `ConfigError`, on one line."""
        return cls(find_scorers(names))

    @property
    def version(self) -> str:
        """The scorers' names and versions: `turns=1,length=1,structure=1`. What was scored by another one is scored again."""
        return ",".join(f"{one.name}={one.version}" for one in self.scorers)

    def score(self, conversation: Conversation, context: ScoringContext) -> Scored:
        """What the scorers say of a conversation. Raises `ConfigError` where one fails."""
        results = tuple(one.result(conversation, context) for one in self.scorers)
        return Scored(self.version, Quality(_total(results), results))


def _total(results: Sequence[ScorerResult]) -> int:
    """The sum of points, scaled from the sum of maxima to 10, to the nearest whole number (halves up), at least 1; 10 without points."""
    points, maximum = (sum(getattr(one, name) or 0 for one in results) for name in ("points", "maximum"))
    return max(1, (20 * points + maximum) // (2 * maximum)) if maximum else 10
