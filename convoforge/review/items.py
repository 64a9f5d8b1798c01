"""Conversations to be reviewed, with all that a reviewer sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_answers, read_published
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.reviews import Review, read_request_reviews
from convoforge.models import Conversation, Quality, Turn
from convoforge.planning.plan import Plan
from convoforge.review.choosing import Reviewable
from convoforge.review.deciding import find_deciding, find_edit
from convoforge.scoring import Rubric, ScoringContext


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A conversation as it would be published; what scorers, filters and a judge say of the original; and its reviews,
    the oldest first. `status` and `reason` are those of the rules alone."""

    conversation_id: str
    persona: str
    emotion: str
    topic: str
    tier: str
    template: str
    status: str
    reason: str
    quality: Quality | None
    conversation: Conversation
    reviews: tuple[Review, ...]

    @property
    def decision(self) -> str | None:
        """The decision that counts."""
        decides = find_deciding(self.reviews)
        return decides.decision if decides else None

    @property
    def edit_of(self) -> int:
        """What an edit of `conversation` is made of: the id of the edit that stands, 0 for the original."""
        edit = find_edit(self.reviews)
        return edit.id if edit else 0

    def find_decision(self, reviewer: str) -> str | None:
        """What a reviewer has decided last, and not taken back."""
        return next((one.decision for one in reversed(self.reviews) if one.stands and one.reviewer == reviewer), None)

    def describe(self) -> dict[str, Any]:
        """Plain values, without the texts."""
        names = ("conversation_id", "persona", "emotion", "topic", "tier", "template", "status", "reason", "decision")
        scorers = [asdict(one) for one in self.quality.results] if self.quality else []
        return {name: getattr(self, name) for name in names} | {
            "score": self.quality and self.quality.score,
            "scorers": scorers,
            "reviewers": sorted({one.reviewer for one in self.reviews if one.stands}),
        }


def score_edit(plan: Plan, item: ReviewItem, turns: tuple[Turn, ...]) -> Quality:
    """What scorers and filters of a plan say of edited turns; no judge is asked. It informs, and decides nothing."""
    context = ScoringContext.of(plan.spec.name, item, plan.spec.parameters)
    return Rubric.of(plan.spec, plan.library).score(Conversation(turns, item.conversation.system), context).quality


def read_items(ledger: Ledger, reviewables: Sequence[Reviewable]) -> list[ReviewItem]:
    """What a reviewer sees of some conversations, in their order."""
    ids = [one.draw.request_id for one in reviewables]
    answers = {row.id: row for row in ledger.read(lambda connection: [*read_answers(connection, ids)])}
    reviews = ledger.read(read_request_reviews, ids)
    return [
        ReviewItem(
            **{name: getattr(row, name) for name in ("conversation_id", "persona", "emotion", "topic", "tier", "template")},
            status=str(one.status),
            reason=one.reason,
            quality=read_quality(row.score, row.results),
            conversation=read_published(row),
            reviews=tuple(reviews.get((row.id, row.attempt), ())),
        )
        for one in reviewables
        if (row := answers.get(one.draw.request_id)) is not None and row.turns
    ]
