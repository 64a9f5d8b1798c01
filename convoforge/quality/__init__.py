"""Is a conversation good enough? The seed's rubric for one, and filters over many. Pure, so that re-scoring is free."""

from __future__ import annotations

from convoforge.models import Conversation, Quality
from convoforge.quality.contract import Drop
from convoforge.quality.duplicates import content_hash, first_of_each
from convoforge.quality.length import average_length
from convoforge.quality.structure import alternation
from convoforge.quality.turns import turn_count

__all__ = ["RUBRIC_VERSION", "Drop", "content_hash", "first_of_each", "score"]

RUBRIC_VERSION: int = 1
"""Goes up when any answer could score differently than before: stored scores of an older version are computed again."""


def score(conversation: Conversation) -> Quality:
    """The rubric's verdict, 1–10: the sum of its parts, with one reason for each part that lost points."""
    parts = turn_count(conversation), average_length(conversation), alternation(conversation)
    turns, length, structure = (part.points for part in parts)
    return Quality(
        score=max(1, min(10, turns + length + structure)),
        turns=turns,
        length=length,
        structure=structure,
        reasons=tuple(part.reason for part in parts if part.reason),
    )
