"""Stored plans: the cells that were chosen for a dataset's sample. All processes of a run, and publishing after it, use the same
cells while the ledger grows."""

from __future__ import annotations

from datetime import datetime

import orjson
from sqlalchemy import Connection, Row, func, insert, select, update

from convoforge.ledger.tables import IS_GENERATED, datasets, plans, requests, runs
from convoforge.planning.grid import Chosen, Grid, Values
from convoforge.planning.plan import Plan


def read_plan(connection: Connection, dataset_id: int, signature: str | None = None) -> Chosen | None:
    """A dataset's latest plan, or the latest with this signature."""
    query = select(plans).where(plans.c.dataset_id == dataset_id).order_by(plans.c.id.desc()).limit(1)
    row = connection.execute(query if signature is None else query.where(plans.c.signature == signature)).one_or_none()
    return None if row is None else _chosen(row)


def read_run_plan(connection: Connection, run_id: str) -> Chosen | None:
    """The plan of a run; None before it has one."""
    row = connection.execute(select(plans).join(runs, runs.c.plan_id == plans.c.id).where(runs.c.id == run_id)).one_or_none()
    return None if row is None else _chosen(row)


def keep_plan(connection: Connection, dataset_id: int, run_id: str, plan: Plan, newest: int | None, now: datetime) -> bool:
    """Set the plan of a run, made when `newest` was the id of the dataset's newest plan. Returns False if another build has
    stored a plan since: make the plan again. A plan with the same signature as the newest one is not stored twice."""
    connection.execute(select(datasets.c.id).where(datasets.c.id == dataset_id).with_for_update())
    last = connection.execute(select(func.max(plans.c.id)).where(plans.c.dataset_id == dataset_id)).scalar_one()
    if last != newest:
        return False
    found = None
    if last is not None:
        found = connection.execute(select(plans.c.signature).where(plans.c.id == last)).scalar_one()
    if found != plan.signature:
        values = {
            "dataset_id": dataset_id,
            "signature": plan.signature,
            "grid": plan.grid.text,
            "cells": orjson.dumps(plan.numbers).decode() if plan.sampled else None,
            "created_at": now,
        }
        last = connection.execute(insert(plans).returning(plans.c.id), values).scalar_one()
    connection.execute(update(runs).where(runs.c.id == run_id).values(plan_id=last))
    return True


def read_cells(connection: Connection, dataset_id: int) -> dict[str, Values]:
    """Every cell of a dataset that was ever requested, by its key."""
    one = requests.c
    query = (
        select(one.cell, one.persona, one.emotion, one.topic, one.tier, one.template)
        .where(one.dataset_id == dataset_id, IS_GENERATED)
        .distinct()
        .execution_options(yield_per=1_000)
    )
    return {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in connection.execute(query)}


def _chosen(row: Row[tuple[object, ...]]) -> Chosen:
    cells = None if row.cells is None else tuple(orjson.loads(row.cells))
    return Chosen(row.id, row.signature, Grid.parse(row.grid), cells)
