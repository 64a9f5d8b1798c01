"""The cells of a run's plan as they stand today: how many are full, which are short, which have run out of draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from sqlalchemy import Connection

from convoforge.dataset.acceptance import DatasetStatus, assess
from convoforge.dataset.near_duplicates import read_neighbors
from convoforge.ledger.plans import read_cells, read_plan, read_run_plan
from convoforge.ledger.requests import read_draws
from convoforge.models import Status
from convoforge.planning.spec import DatasetSpec

MAX_NAMED = 5
"""Maximum number of cells that are named of those that are not full."""


@dataclass(frozen=True, slots=True)
class CellCounts:
    """`full` cells hold all that the spec wants of each, `exhausted` ones have no draws left, `short` ones are neither. `shortest` names
    some that are not full, with what they hold. The other figures count conversations."""

    cells: int
    full: int
    exhausted: int
    wanted: int
    accepted: int
    needs_revision: int
    dropped: int
    refused: int
    pending: int
    shortest: tuple[tuple[str, int], ...]

    @property
    def short(self) -> int:
        """Cells that are not full and may still be asked for."""
        return self.cells - self.full - self.exhausted


def assess_cells(connection: Connection, dataset_id: int, spec: DatasetSpec, cells: Sequence[str]) -> DatasetStatus:
    """How some cells of a dataset stand under a spec, whatever plan they are of."""
    return assess(
        cells,
        read_draws(connection, dataset_id),
        min_score=spec.quality.min_score,
        per_cell=spec.per_cell,
        max_draws=spec.max_draws,
        near=read_neighbors(connection, dataset_id, spec.quality.near_duplicates, with_unknown=True),
    )


def count_cells(connection: Connection, run_id: str, dataset_id: int, spec: DatasetSpec) -> CellCounts | None:
    """The cells of a run's plan; None where it came to none."""
    plan = read_run_plan(connection, run_id) or read_plan(connection, dataset_id)
    if plan is None:
        return None
    number = prod(plan.grid.sizes) if plan.cells is None else len(plan.cells)
    known = read_cells(connection, dataset_id)
    within = plan.having(known.values())
    asked = {key: values for key, values in sorted(known.items()) if values in within}
    status = assess_cells(connection, dataset_id, spec, list(asked))
    held = Counter(draw.cell for draw in status.accepted)
    short = [(" · ".join(values[:4]), held[key]) for key, values in asked.items() if held[key] < spec.per_cell]
    return CellCounts(
        cells=number,
        full=sum(count >= spec.per_cell for count in held.values()),
        exhausted=len(status.exhausted),
        wanted=number * spec.per_cell,
        accepted=status.counts[Status.ACCEPTED],
        needs_revision=status.counts[Status.NEEDS_REVISION],
        dropped=status.counts[Status.DROPPED],
        refused=len(status.refused),
        pending=len(status.pending),
        shortest=tuple(short[:MAX_NAMED]),
    )
