"""What a dataset's answers count as, with the small values that lists filter and sort by: one row each, in memory.

A snapshot is made from the acceptance rule, so it takes a second for every 30,000 answers; it is made again in the background when the
ledger has changed, and what it knows of unchanged answers is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select

from convoforge.dataset.acceptance import NO_NEIGHBORS, DatasetStatus, Neighbors, StatusSummary, assess
from convoforge.dataset.answer_rows import read_rows, read_texts
from convoforge.dataset.find_plan import find_own_plan
from convoforge.dataset.near_duplicates import read_neighbors
from convoforge.dataset.placing import read_settled_status
from convoforge.dataset.status import assess_draws
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.requests import read_draws
from convoforge.ledger.runs import find_dataset
from convoforge.ledger.tables import (
    datasets,
    plans,
    requests,
    reviews,
    runs,
    signatures,
)
from convoforge.models import AnswerKind, Provider
from convoforge.planning.draws import Draw
from convoforge.planning.plan import Plan
from convoforge.planning.quality import QualityRule
from convoforge.planning.spec import ADHOC, AXES
from convoforge.settings import Settings

STATUSES = {
    "accepted": "publishable today",
    "needs_revision": "left to a person",
    "dropped": "rejected for good",
    "unjudged": "accepted, unless the judge that is still to read it gives too few points",
    "unscored": "no scorer has seen it yet",
    "spare": "good enough, but its cell has all it wants",
    "outside": "of a cell that the plan no longer has",
}
"""What an answer counts as in lists, and what that means."""

MAX_SHORT = 100
"""Maximum number of cells that are named as short."""


@dataclass(frozen=True, slots=True)
class ShortCell:
    """A cell that has fewer accepted conversations than it wants; `is_exhausted`: without draws left."""

    values: tuple[str, ...]
    accepted: int
    wanted: int
    is_exhausted: bool


@dataclass(frozen=True)
class Snapshot:
    """A dataset at one moment. `frame` has a row for each answer, `texts` their texts in lower case if asked for. `cells` are the plan's;
    `adhoc` has no plan. `mark` changes when the ledger does."""

    name: str
    provider: Provider
    dataset_id: int
    mark: tuple[Any, ...]
    made_at: datetime
    frame: pl.DataFrame
    summary: StatusSummary
    plan: Plan | None = None
    cells: pl.DataFrame = field(default_factory=pl.DataFrame)
    short: tuple[ShortCell, ...] = ()
    texts: pl.Series | None = None

    @property
    def quality(self) -> QualityRule:
        """The rule of its spec, or the default."""
        return self.plan.spec.quality if self.plan else QualityRule()

    def count_pairs(self, axes: tuple[str, str]) -> dict[tuple[str, str], tuple[int, int]]:
        """Two values → accepted conversations that have both, and how many are wanted."""
        per_cell = self.plan.spec.per_cell if self.plan else 0
        held = self.frame.filter(pl.col("status") == "accepted").select(pl.col(axes).cast(pl.String)).group_by(axes).len("held")
        if self.plan is None:
            return {(first, second): (count, count) for first, second, count in held.iter_rows()}
        wanted = self.cells.group_by(axes).len("wanted").join(held, on=axes, how="left").fill_null(0)
        return {(first, second): (count, cells * per_cell) for first, second, cells, count in wanted.iter_rows()}

    @cached_property
    def choices(self) -> Mapping[str, list[str]]:
        """The values of each axis and of the template, in alphabetical order."""
        return {name: sorted(str(value) for value in self.frame[name].unique() if value) for name in (*AXES, "template")}

    @cached_property
    def flags(self) -> Mapping[str, int]:
        """Filters that have found something, with the number of answers, the most frequent first."""
        counts: Counter[str] = Counter()
        for flags, number in self.frame["flags"].value_counts().iter_rows():
            counts.update(dict.fromkeys(filter(None, flags.split("|")), number))
        return dict(counts.most_common())


def read_mark(connection: Connection, dataset_id: int) -> tuple[Any, ...]:
    """What changes with the ledger, read from indexes alone; the first two of it say whether the plan is another one."""
    states = select(requests.c.state, func.count()).where(requests.c.dataset_id == dataset_id).group_by(requests.c.state)
    spec = connection.execute(select(datasets.c.spec).where(datasets.c.id == dataset_id)).scalar_one()
    last = connection.execute(
        select(
            select(func.max(plans.c.id)).where(plans.c.dataset_id == dataset_id).scalar_subquery(),
            select(func.max(reviews.c.id)).scalar_subquery(),
            select(func.max(signatures.c.id)).scalar_subquery(),
            select(func.max(runs.c.finished_at)).where(runs.c.dataset_id == dataset_id).scalar_subquery(),
        )
    ).one()
    return (sha256((spec or "").encode()).digest(), *last, *sorted(tuple(row) for row in connection.execute(states)))


def make_snapshot(
    ledger: Ledger,
    settings: Settings,
    name: str,
    provider: Provider,
    before: Snapshot | None = None,
    *,
    with_texts: bool = False,
    keep_plan: bool = True,
) -> Snapshot:
    """Read a dataset. `before` is an earlier snapshot of it, which saves reading what has not changed; with `keep_plan` its plan holds
    while the spec is the same, whatever has become of the templates.

    Raises `ConfigError` for a dataset that the ledger does not know, or whose spec cannot be planned.
    """
    plan, dataset_id, mark = _find(ledger, settings, name, provider, before, keep_plan)
    draws = ledger.read(read_draws, dataset_id)
    if plan is None:
        cells = sorted({draw.cell for draw in draws})
        status, near = assess(cells, draws, min_score=QualityRule().min_score, per_cell=1, max_draws=1), NO_NEIGHBORS
    else:
        planned, near = plan, ledger.read(read_neighbors, dataset_id, plan.spec.quality.near_duplicates, with_unknown=True)
        status = read_settled_status(
            ledger, plan, dataset_id, settings.data_dir, lambda torn: assess_draws(planned, draws, replace(near, torn=torn))
        )
    frame = ledger.read(
        read_rows, dataset_id, draws, _name_verdicts(status, draws, near), None if before is None else before.frame
    )
    held = before.frame.with_columns(text=before.texts) if before is not None and before.texts is not None else None
    return Snapshot(
        name=name,
        provider=provider,
        dataset_id=dataset_id,
        mark=mark,
        made_at=datetime.now(UTC),
        frame=frame,
        summary=status.summary,
        plan=plan,
        cells=before.cells if before and before.plan is plan else _frame_cells(plan),
        short=tuple(_list_short(plan, status)) if plan else (),
        texts=ledger.read(read_texts, dataset_id, frame, held) if with_texts else None,
    )


def _find(
    ledger: Ledger, settings: Settings, name: str, provider: Provider, before: Snapshot | None, keep_plan: bool
) -> tuple[Plan | None, int, tuple[Any, ...]]:
    """The plan, the dataset's id and its mark. A plan takes a second for every 50,000 cells, so one that still holds is kept; so is the one
    before where a template is broken just now."""
    if before is not None:
        mark = ledger.read(read_mark, before.dataset_id)
        if mark[:2] == before.mark[:2]:
            plan = before.plan
            if not keep_plan and plan is not None:
                with suppress(ConfigError):
                    plan, _ = find_own_plan(ledger, settings, name, provider)
            return plan, before.dataset_id, mark
    if name == ADHOC:
        row = ledger.read(find_dataset, ADHOC, provider)
        if row is None:
            raise ConfigError("no single request yet: `convoforge generate` makes one")
        return None, int(row.id), ledger.read(read_mark, int(row.id))
    plan, dataset_id = find_own_plan(ledger, settings, name, provider)
    return plan, dataset_id, ledger.read(read_mark, dataset_id)


def _name_verdicts(status: DatasetStatus, draws: Iterable[Draw], near: Neighbors) -> dict[int, tuple[str, str]]:
    """Request → what its answer counts as, and why."""
    verdicts = {draw.request_id: ("outside", "") for draw in draws if draw.kind is not None}
    for draw in status.answered:
        unscored = draw.kind == AnswerKind.OK and (draw.score is None or draw.request_id in near.unknown)
        verdicts[draw.request_id] = ("unscored" if unscored else "spare", "")
    verdicts |= {one.draw.request_id: (one.status.value, one.reason) for one in status.rejected if one.draw.kind is not None}
    verdicts |= {draw.request_id: ("accepted", "") for draw in status.accepted}
    return verdicts | {draw.request_id: ("unjudged", "") for draw in status.to_judge}


def _frame_cells(plan: Plan | None) -> pl.DataFrame:
    names = (*AXES, "template")
    return pl.DataFrame([cell.values for cell in plan.cells] if plan else [], dict.fromkeys(names, pl.String), orient="row")


def _list_short(plan: Plan, status: DatasetStatus) -> Iterable[ShortCell]:
    """The cells that are furthest from what they want."""
    accepted, exhausted = Counter(draw.cell for draw in status.accepted), frozenset(status.exhausted)
    wanted = plan.spec.per_cell
    short = sorted((cell for cell in plan.cells if accepted[cell.key] < wanted), key=lambda cell: accepted[cell.key])
    for cell in short[:MAX_SHORT]:
        yield ShortCell(tuple(cell.values), accepted[cell.key], wanted, cell.key in exhausted)
