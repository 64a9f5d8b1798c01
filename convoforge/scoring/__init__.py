"""Is a conversation good enough? The seed's rubric, and the fingerprint by which repetitions are known. Pure: re-scoring is free."""

from __future__ import annotations

from dataclasses import dataclass

from convoforge.models import Conversation, Quality
from convoforge.scoring.contract import Scorer
from convoforge.scoring.duplicates import content_hash
from convoforge.scoring.length import average_length
from convoforge.scoring.structure import alternation
from convoforge.scoring.turns import turn_count

__all__ = ["RUBRIC_VERSION", "Scored", "content_hash", "score", "score_conversation"]

SCORERS: tuple[Scorer, Scorer, Scorer] = (turn_count, average_length, alternation)

RUBRIC_VERSION: int = 1
"""Goes up when any answer could score differently than before: stored scores of an older version are computed again."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A conversation's score by one version of the rubric, and the fingerprint by which repetitions are known."""

    rubric: int
    quality: Quality
    content_hash: str


def score_conversation(conversation: Conversation) -> Scored:
    """What today's rubric says of a conversation, as the ledger keeps it."""
    return Scored(RUBRIC_VERSION, score(conversation), content_hash(conversation))


def score(conversation: Conversation) -> Quality:
    """The rubric's verdict, 1–10: the sum of its parts, with one reason for each part that lost points."""
    parts = [scorer(conversation) for scorer in SCORERS]
    turns, length, structure = (part.points for part in parts)
    return Quality(
        score=max(1, min(10, turns + length + structure)),
        turns=turns,
        length=length,
        structure=structure,
        reasons=tuple(part.reason for part in parts if part.reason),
    )
