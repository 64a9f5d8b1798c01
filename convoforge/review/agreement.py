"""What reviews of a dataset come to: how many decide what, who has reviewed, and how far two reviewers agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from convoforge.dataset.calibration import Agreement, measure_agreement
from convoforge.ledger import Ledger
from convoforge.ledger.reviews import Reviews, read_dataset_reviews
from convoforge.review.deciding import KEPT


@dataclass(frozen=True, slots=True)
class ReviewerPair:
    """Two reviewers of the same conversations, and how far they agree on which to publish, as they are or edited."""

    first: str
    second: str
    agreement: Agreement

    def as_json(self) -> dict[str, Any]:
        plain = self.agreement.as_json()
        del plain["calibrated"]
        return {"reviewers": [self.first, self.second], **plain}


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """Counts of conversations: by the decision that counts, and by who has decided on them; and the agreement of each two reviewers."""

    decisions: Mapping[str, int]
    reviewers: Mapping[str, int]
    pairs: tuple[ReviewerPair, ...]

    def as_json(self) -> dict[str, Any]:
        pairs = [one.as_json() for one in self.pairs]
        return {"decisions": dict(self.decisions), "reviewers": dict(self.reviewers), "agreement": pairs}


def read_summary(ledger: Ledger, dataset_id: int) -> ReviewSummary:
    """The reviews of all conversations that a dataset holds, in figures."""
    return summarize(ledger.read(read_dataset_reviews, dataset_id))


def summarize(reviews: Reviews) -> ReviewSummary:
    """Reviews in figures."""
    by: dict[str, dict[int, bool]] = defaultdict(dict)  # reviewer → request → whether the last decision publishes it
    for (request, _), some in reviews.items():
        for one in some:
            if one.stands:
                by[one.reviewer][request] = one.decision in KEPT
    pairs = [(one, two, by[one].keys() & by[two].keys()) for one, two in combinations(sorted(by), 2)]
    return ReviewSummary(
        Counter(one.decision for some in reviews.values() for one in some if one.decides),
        {name: len(by[name]) for name in sorted(by)},
        tuple(
            ReviewerPair(one, two, measure_agreement((by[one][each], by[two][each]) for each in both))
            for one, two, both in pairs
            if both
        ),
    )
