"""What was paid: by day, dataset, model or template, what of it was waste, how good estimates were, and what budgets have left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, select

from convoforge.costs.format import format_summary
from convoforge.costs.period import GroupBy
from convoforge.costs.summary import cost_summary
from convoforge.dataset.ledger_facts import read_run_costs
from convoforge.errors import ConfigError
from convoforge.ledger.budgets import list_budget_scopes, name_account, read_spent
from convoforge.ledger.tables import datasets, generation_logs, runs
from convoforge.models import Provider
from convoforge.periods import read_period
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import usd
from convoforge.viewer.pages import page
from convoforge.viewer.state import Opened, Viewer

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """A cap, and what is spent, maybe billed or reserved of it, in US dollars."""

    name: str
    limit: Decimal
    used: Decimal

    @property
    def left(self) -> Decimal:
        return max(Decimal(0), self.limit - self.used)


@router.get("/costs")
async def show_costs(request: Request, viewer: Opened) -> HTMLResponse:
    """The costs of a period."""
    query = dict(request.query_params)
    by = query.get("by", "day") if query.get("by") in get_args(GroupBy) else "day"
    try:
        since, until = read_period(query.get("from") or None, query.get("to") or None, ("from", "to"))
    except ConfigError as error:
        raise HTTPException(400, str(error)) from None
    values = await viewer.run(_describe, query, since, until, by)
    values |= {"by": by, "groups": get_args(GroupBy), "since": query.get("from", ""), "until": query.get("to", "")}
    return page(request, "costs.html.jinja", section="costs", **values)


def _describe(viewer: Viewer, query: dict[str, str], since: datetime | None, until: datetime | None, by: Any) -> dict[str, Any]:
    read = viewer.ledger.read
    providers = read(_list_providers)
    asked = query.get("provider", "")
    provider: Provider = "simulator" if asked == "simulator" or (not asked and providers == {"simulator"}) else "anthropic"
    mine = runs.c.dataset_id.in_(select(datasets.c.id).where(datasets.c.provider == provider))
    summary = read(cost_summary, since, until, by=by, provider=provider)
    return {
        "provider": provider,
        "providers": providers,
        "summary": summary,
        "lines": format_summary(summary),
        "most": max((one.total_cost_usd for one in (summary.groups or {}).values()), default=Decimal(0)),
        "runs": read(read_run_costs, mine)[::-1],
        "names": read(_name_runs, provider),
        "budgets": read(_read_budgets, provider, datetime.now(UTC)),
    }


def _list_providers(connection: Connection) -> set[str]:
    return set(connection.execute(select(generation_logs.c.provider).distinct()).scalars())


def _name_runs(connection: Connection, provider: str) -> dict[str, str]:
    query = select(runs.c.id, datasets.c.name).join(datasets, datasets.c.id == runs.c.dataset_id)
    newest = query.where(datasets.c.provider == provider).order_by(runs.c.started_at.desc()).limit(100)
    return {row.id: row.name for row in connection.execute(newest)}


def _read_budgets(connection: Connection, provider: str, now: datetime) -> Sequence[BudgetLeft]:
    """The caps of today's specs: of a day, an account or a whole dataset."""
    limits: dict[str, tuple[str, Decimal]] = {}
    query = select(datasets).where(datasets.c.provider == provider, datasets.c.spec.is_not(None)).order_by(datasets.c.name)
    for row in connection.execute(query):
        try:
            spec = DatasetSpec.from_text(row.spec)
        except ConfigError:  # another version of this package kept it: its caps are not known here
            continue
        _, whole, day = list_budget_scopes("", row.id, now, name_account(spec.budget.account, provider))
        if spec.budget.dataset_usd is not None:
            limits[whole] = (f"{spec.name}, in all", spec.budget.dataset_usd)
        if spec.budget.day_usd is not None:
            limits[day] = (
                f"{f'account {spec.budget.account}' if spec.budget.account else spec.name}, today",
                spec.budget.day_usd,
            )
    spent = read_spent(connection, limits)
    return [BudgetLeft(name, limit, usd(spent[scope])) for scope, (name, limit) in limits.items()]
