"""What a threshold would accept, before a version is made with it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.models import Status


@dataclass(frozen=True, slots=True)
class Preview:
    """Counts of conversations under a threshold. `scores` are those of all answers that hold a conversation. `missing` draws are what a
    build would then ask for in its first round."""

    min_score: int
    accepted: int
    needs_revision: int
    dropped: int
    missing: int
    scores: Mapping[int, int]


def preview_threshold(status: DatasetStatus, min_score: int) -> Preview:
    """What a status that was read with `min_score` comes to."""
    scores = Counter(draw.score for draw in status.answered if draw.score is not None)
    return Preview(
        min_score=min_score,
        accepted=status.counts[Status.ACCEPTED],
        needs_revision=status.counts[Status.NEEDS_REVISION],
        dropped=status.counts[Status.DROPPED],
        missing=len(status.pending) + len(status.to_request),
        scores={score: scores[score] for score in sorted(scores)},
    )
