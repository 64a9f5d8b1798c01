"""What a reviewer is asked to look at, one after another: a sample is chosen once, and walked through."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import polars as pl
from fastapi import HTTPException

from convoforge.dataset.snapshot import Snapshot
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.review.choosing import Sample, choose

SAMPLES = {
    "all": "all, what needs revision first",
    "borderline": "just below and above the threshold",
    "disagreements": "where judge and rules disagree",
    "rejected": "what is not accepted",
    "random:5": "five of each axis value",
}
"""Samples that a reviewer can choose; an address may name any other `random:N`."""

MAX_KEPT = 32
"""Maximum number of samples that are remembered; those of more reviewers are chosen anew."""


class Queues:
    """The samples that reviewers walk through, by dataset, sample and reviewer: request ids in their order."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str, str], Sequence[int]] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, ledger: Ledger, snapshot: Snapshot, sample: str, who: str) -> Sequence[int]:
        """Choose anew what is to be looked at. Raises `HTTPException` for what is no sample."""
        if snapshot.plan is None:
            raise HTTPException(404, "single requests belong to no dataset that could be reviewed")
        try:
            queue = choose(ledger, snapshot.plan, snapshot.dataset_id, Sample.parse(sample), reviewer=who)
        except ConfigError as error:
            raise HTTPException(404, str(error)) from None
        ids = [one.draw.request_id for one in queue.todo]
        with self._lock:
            self._kept[snapshot.dataset_id, sample, who] = ids
            self._kept.move_to_end((snapshot.dataset_id, sample, who))
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return ids

    def list_waiting(self, ledger: Ledger, snapshot: Snapshot, sample: str, who: str, current: str = "") -> pl.Series:
        """The ids of the conversations of a sample that nobody has reviewed by now, and of the one that is looked at, in their order."""
        with self._lock:
            ids = self._kept.get((snapshot.dataset_id, sample, who))
        chosen = pl.DataFrame(
            {"request_id": self.choose(ledger, snapshot, sample, who) if ids is None else ids}, {"request_id": pl.Int64}
        )
        found = chosen.join(snapshot.frame, on="request_id", maintain_order="left")
        waits = pl.col("reviewed").cast(pl.String) == ""
        return found.filter(waits | (pl.col("conversation_id") == current))["conversation_id"]
