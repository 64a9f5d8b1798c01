"""What a version's report tells that its rows do not: what was planned, what runs were expected to cost and did, how long calls took."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import combinations
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from convoforge.ledger.signatures import read_near_pairs
from convoforge.ledger.tables import generation_logs, runs
from convoforge.planning.plan import Plan
from convoforge.planning.quality import MIN_ALIKE
from convoforge.planning.spec import AXES
from convoforge.pricing import usd
from convoforge.publish.report import LedgerFacts, RunCost

MAX_RUNS = 12
"""Maximum number of runs, the newest."""


def read_ledger_facts(connection: Connection, plan: Plan, dataset_id: int, accepted: Iterable[int]) -> LedgerFacts:
    """The facts of a dataset under a plan. `accepted` are the requests whose conversations a version holds."""
    logs = generation_logs.c
    tenths = case((logs.status == "succeeded", case((logs.batch_id.is_(None), logs.latency_ms // 100))))
    query = select(logs.purpose, tenths, func.count(), func.sum(logs.cost_pico)).where(logs.dataset_id == dataset_id)
    took = [(*kind, int(cost)) for *kind, cost in connection.execute(query.group_by(logs.purpose, tenths))]
    return LedgerFacts(
        planned={axes: _count_planned(plan, axes) for axes in combinations(AXES, 2)},
        runs=read_run_costs(connection, runs.c.dataset_id == dataset_id),
        latencies={tenth: count for purpose, tenth, count, _ in took if purpose == "conversation" and tenth is not None},
        spent_usd=usd(sum(cost for *_, cost in took)),
        judged_usd=usd(sum(cost for purpose, *_, cost in took if purpose == "judge")),
        alike=_read_alike(connection, dataset_id, accepted) if plan.spec.quality.near_duplicates else None,
    )


def _read_alike(connection: Connection, dataset_id: int, accepted: Iterable[int]) -> Mapping[int, int]:
    pairs = [pair for pair in read_near_pairs(connection, dataset_id, MIN_ALIKE) if pair.dataset == dataset_id]
    resembling = {pair.request_id for pair in pairs}
    held = {request for request in accepted if request in resembling}
    nearest: dict[int, float] = {}
    for pair in pairs:
        if pair.request_id in held and pair.other_id in held:
            nearest[pair.request_id] = max(pair.similarity, nearest.get(pair.request_id, 0.0))
    return Counter(int(100 * similarity + 1e-6) for similarity in nearest.values())


def _count_planned(plan: Plan, axes: tuple[str, str]) -> Mapping[tuple[str, str], int]:
    counts = Counter(tuple(getattr(cell, axis) for axis in axes) for cell in plan.cells)
    return {(first, second): count * plan.spec.per_cell for (first, second), count in counts.items()}


def read_run_costs(connection: Connection, which: ColumnElement[bool]) -> list[RunCost]:
    """The newest of some runs, the oldest of them first. `which` is a condition on `runs`."""
    query = select(runs.c.id, runs.c.report).where(which).order_by(runs.c.started_at.desc(), runs.c.id)
    found = [(row.id, _read_expected(json.loads(row.report or "{}"))) for row in connection.execute(query.limit(MAX_RUNS))][::-1]
    logs = generation_logs.c
    answered = func.sum(case((logs.status == "succeeded", 1), else_=0))
    totals = (
        select(logs.run_id, answered, func.sum(logs.cost_pico))
        .where(logs.run_id.in_([run for run, _ in found]))
        .group_by(logs.run_id)
    )
    spent = {run: (int(answers), usd(int(cost))) for run, answers, cost in connection.execute(totals)}
    return [RunCost(run, *spent[run], expected) for run, expected in found if run in spent]


def _read_expected(report: Mapping[str, Any]) -> tuple[Decimal, Decimal, Decimal] | None:
    names = ("estimated_low_usd", "estimated_cost_usd", "estimated_high_usd")
    if any(report.get(name) is None for name in names):
        return None
    low, expected, high = (Decimal(report[name]) for name in names)
    return low, expected, high
