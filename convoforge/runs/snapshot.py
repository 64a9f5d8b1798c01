"""Everything about one run at a moment: how far it is, its cells, and why requests or conversations were not accepted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from convoforge.dataset.cell_counts import CellCounts, count_cells
from convoforge.dataset.reasons import of_run, read_reasons
from convoforge.errors import ConfigError
from convoforge.pricing import usd
from convoforge.reasons import Reason
from convoforge.runs.known import KnownRun, read_known_runs


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run, its cells (None where it came to no known plan), and what was refused, failed or not accepted, with what to do about it."""

    run: KnownRun
    cells: CellCounts | None
    reasons: tuple[Reason, ...]

    @property
    def budget_usd(self) -> Decimal | None:
        """The most that it may spend; None without a cap."""
        return self.run.spec.budget.run_usd if self.run.spec else None

    @property
    def estimated_usd(self) -> Decimal | None:
        """What it was expected to cost; None where nobody said."""
        found = json.loads(self.run.row.report or "{}").get(
            "estimated_cost_usd"
        )  # kept when it begins; `report` has it at the end
        return None if found is None else Decimal(found)

    @property
    def maybe_usd(self) -> Decimal:
        """The worst that may have been paid beyond its cost, for calls whose bill is not known."""
        return usd(self.run.figures.maybe_pico if self.run.figures else 0)

    def as_json(self) -> dict[str, Any]:
        cells = self.cells
        counts = cells and {name: getattr(cells, name) for name in ("cells", "full", "short", "exhausted", "wanted")}
        return {**self.run.as_json(), "cells": counts, "reasons": [one.as_json() for one in self.reasons]}


def read_snapshot(connection: Connection, given: str, now: datetime, before: RunSnapshot | None = None) -> RunSnapshot:
    """The run whose id begins with `given`. Its cells and reasons take long to read in a large dataset: those of `before`, if given.

    Raises `ConfigError` where no run or several begin so.
    """
    found = read_known_runs(connection, now, run=given)
    if len(found) != 1:
        raise ConfigError(f"{len(found) or 'no'} runs begin with '{given}': `convoforge status` lists them")
    if before is not None:
        return RunSnapshot(found[0], before.cells, before.reasons)
    row, spec = found[0].row, found[0].spec
    cells = None if spec is None else count_cells(connection, row.id, row.dataset_id, spec)
    return RunSnapshot(found[0], cells, read_reasons(connection, of_run(row.id)))
