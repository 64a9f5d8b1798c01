"""Scores a conversation with the scorers and filters that a spec names. Pure functions: scoring again is free."""

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
    """A conversation's quality, and the version of the rubric that gave it."""

    rubric: str
    quality: Quality


@dataclass(frozen=True, slots=True)
class Rubric:
    """The scorers of a spec."""

    scorers: tuple[Scorer, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Rubric:
        """Make the rubric from a spec's `quality.scorers`. Raises `ConfigError`."""
        return cls(find_scorers(names))

    @property
    def version(self) -> str:
        """The scorers' names and versions: `turns=1,length=1,structure=1`. Scores of another version are computed again."""
        return ",".join(f"{one.name}={one.version}" for one in self.scorers)

    def score(self, conversation: Conversation, context: ScoringContext) -> Scored:
        """Score a conversation. Raises `ConfigError` if a scorer fails."""
        results = tuple(one.result(conversation, context) for one in self.scorers)
        return Scored(self.version, Quality(_total(results), results))


def _total(results: Sequence[ScorerResult]) -> int:
    """The points scaled to a maximum of 10, rounded to a whole number (halves up), at least 1; 10 if there are only filters."""
    points, maximum = (sum(getattr(one, name) or 0 for one in results) for name in ("points", "maximum"))
    return max(1, (20 * points + maximum) // (2 * maximum)) if maximum else 10
