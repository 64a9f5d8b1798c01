"""How a dataset stands where what has no place in a split is replaced. The published files are read only where something may have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from convoforge.dataset.acceptance import NO_NEIGHBORS, DatasetStatus
from convoforge.dataset.status import read_status
from convoforge.ledger import Ledger
from convoforge.ledger.signatures import list_published, read_near_pairs
from convoforge.planning.plan import Plan
from convoforge.settings import Folder

if TYPE_CHECKING:
    from convoforge.dataset.clusters import ReadStatus


def read_settled_status(
    ledger: Ledger, plan: Plan, dataset_id: int, data_dir: Folder, read: ReadStatus | None = None
) -> DatasetStatus:
    """How a dataset stands today, as `publish` will find it. A conversation that resembles a published one of another split cannot be
    published, as those never move: its cell wants another draw. `read` is as in `read_placed_status`. Raises `ConvoforgeError` where an
    object store fails."""
    if not ledger.read(_may_be_torn, plan, dataset_id):
        return read(NO_NEIGHBORS.torn) if read else read_status(ledger, plan, dataset_id, own=True)
    from convoforge.dataset.clusters import read_placed_status  # reads Parquet, which takes 0.3 s to import
    from convoforge.dataset.release import dataset_layout

    return read_placed_status(ledger, plan, dataset_id, dataset_layout(data_dir, plan.spec.name, plan.provider), read)[0]


def _may_be_torn(connection: Connection, plan: Plan, dataset_id: int) -> bool:
    rule = plan.spec.quality.near_duplicates
    if rule is None or not list_published(connection, dataset_id):
        return False
    return any(pair.dataset == dataset_id for pair in read_near_pairs(connection, dataset_id, rule.cluster))
