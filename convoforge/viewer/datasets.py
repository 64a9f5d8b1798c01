"""The first page: all datasets, how far each is, what it has cost, and its last run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, select

from convoforge.dataset.snapshots import Glance
from convoforge.ledger.budgets import read_dataset_spend
from convoforge.ledger.tables import datasets as table
from convoforge.ledger.tables import runs, versions
from convoforge.runs.known import read_states
from convoforge.viewer.pages import page
from convoforge.viewer.state import Opened, Viewer, Which

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a dataset."""

    id: str
    state: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A dataset in the list. `rows` and `version` are of its newest version."""

    id: int
    name: str
    provider: str
    model: str
    spent: Decimal
    version: int | None
    rows: int | None
    last_run: LastRun | None

    @property
    def address(self) -> str:
        return Which.of(self.name, self.provider).address


@router.get("/")
async def show_datasets(request: Request, viewer: Opened) -> HTMLResponse:
    """All datasets."""
    rows, glances = await viewer.run(_list_rows)
    return page(request, "datasets.html.jinja", section="datasets", rows=rows, glances=glances)


def _list_rows(viewer: Viewer) -> tuple[Sequence[DatasetRow], Mapping[int, Glance]]:
    """All datasets, and what is known at once of what their answers count as."""
    rows = viewer.ledger.read(read_dataset_rows, datetime.now(UTC))
    return rows, {one.id: viewer.snapshots.peek(one.name, Which.of(one.name, one.provider).provider) for one in rows if one.model}


def read_dataset_rows(connection: Connection, now: datetime) -> list[DatasetRow]:
    """All datasets, by provider and name."""
    spent = {(name, provider): amount for name, provider, amount in read_dataset_spend(connection)}
    published = {
        row.dataset_id: row
        for row in connection.execute(
            select(versions).where(versions.c.published_at.is_not(None)).order_by(versions.c.dataset_id, versions.c.number)
        )
    }
    known = connection.execute(select(table).order_by(table.c.provider, table.c.name)).all()
    newest = select(runs).order_by(runs.c.started_at.desc()).limit(1)
    lasts: dict[int, Any] = {one.id: connection.execute(newest.where(runs.c.dataset_id == one.id)).first() for one in known}
    states = read_states(connection, filter(None, lasts.values()), now)
    rows = []
    for one in known:
        last, version = lasts[one.id], published.get(one.id)
        rows.append(
            DatasetRow(
                id=one.id,
                name=one.name,
                provider=one.provider,
                model=json.loads(one.spec).get("model", "") if one.spec else "",
                spent=spent.get((one.name, one.provider), Decimal(0)),
                version=version.number if version else None,
                rows=version.rows if version else None,
                last_run=LastRun(last.id, states[last.id], last.started_at) if last else None,
            )
        )
    return rows
