"""What a reviewer is asked to look at, one after another: what stands nearest to the threshold first."""

from __future__ import annotations

import polars as pl

from convoforge.dataset.snapshot import Snapshot


def list_queue(snapshot: Snapshot, conversation_id: str) -> pl.Series:
    """The ids of the conversations that nobody has reviewed, in the order to look at them; and the one that is looked at."""
    waits = pl.col("status").cast(pl.String).is_in(["accepted", "needs_revision", "unjudged"]) & (pl.col("reviewed") == "")
    near = (pl.col("score") - snapshot.quality.min_score + 0.5).abs()
    chosen = snapshot.frame.filter((waits & pl.col("score").is_not_null()) | (pl.col("conversation_id") == conversation_id))
    return chosen.sort(near, "request_id")["conversation_id"]
