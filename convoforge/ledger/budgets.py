"""Budgets: amounts reserved, spent and maybe billed by a run, a dataset, and a UTC day of a dataset or account; and caps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, String, cast, literal, select

from convoforge.ledger.connect import upsert
from convoforge.ledger.tables import budgets, datasets, runs
from convoforge.pricing import dollars, usd

_COLUMNS = ("limit_pico", "reserved_pico", "spent_pico", "maybe_pico")


@dataclass(frozen=True, slots=True)
class Denied:
    """A reservation of `reserve_pico` that does not fit."""

    scope: str
    limit_pico: int
    spent_pico: int
    reserve_pico: int


def list_budget_scopes(run_id: str, dataset_id: int, at: datetime, account: str | None = None) -> tuple[str, str, str]:
    """The three budgets a call counts against: its run, its dataset, and the UTC day of its dataset or, if its spec names an
    account (see `name_account`), of all datasets that name it."""
    return f"run:{run_id}", f"dataset:{dataset_id}", f"day:{account or dataset_id}:{at:%Y-%m-%d}"


def name_account(account: str | None, provider: str) -> str | None:
    """The name of a spec's account in budgets: separate for simulations, which never count as real."""
    return f"{account}:{provider}" if account else None


def find_accounts(connection: Connection, run_ids: Iterable[str]) -> dict[str, str | None]:
    """The account that each run's spec names."""
    query = select(runs.c.id, runs.c.spec, datasets.c.provider).join(datasets, datasets.c.id == runs.c.dataset_id)
    found = connection.execute(query.where(runs.c.id.in_(list(run_ids)), runs.c.spec.is_not(None)))
    return {row.id: name_account(json.loads(row.spec)["budget"].get("account"), row.provider) for row in found}


def describe_budget(scope: str) -> str:
    """The name of a budget for a person."""
    kind, of, *rest = scope.split(":")
    return f"{kind} budget of account '{of}'" if len(rest) == 2 else f"{kind} budget"


def describe_full(scope: str, spent_pico: int, limit_pico: int, reserve_pico: int) -> str:
    """What to say where the next call, which may cost `reserve_pico`, does not fit into a budget, and nothing in flight frees room."""
    spent, limit, reserve = (dollars(usd(pico)) for pico in (spent_pico, limit_pico, reserve_pico))
    if spent_pico:
        return f"{describe_budget(scope)} reached at {spent} of {limit}; the next call may cost {reserve}"
    return f"the {describe_budget(scope)} ({limit}) is less than one call may cost at worst ({reserve}): raise it"


def check_budget(budget: Mapping[str, Any], scope: str, limit: int | None, reserve: int) -> Denied | None:
    """`Denied` if `reserve` more pico-dollars would exceed the cap `limit` of a budget; else None."""
    if limit is None or budget["spent_pico"] + budget["maybe_pico"] + budget["reserved_pico"] + reserve <= limit:
        return None
    return Denied(scope, limit, budget["spent_pico"] + budget["maybe_pico"], reserve)


def read_budgets(connection: Connection, scopes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read the budgets of `scopes` and lock them until the transaction ends; zeros for those that do not exist yet."""
    scopes = sorted(scopes)  # the same order in every process, to prevent deadlocks
    found: dict[str, dict[str, Any]] = {scope: {"limit_pico": None, **dict.fromkeys(_COLUMNS[1:], 0)} for scope in scopes}
    if not scopes:
        return found
    if connection.dialect.name == "postgresql":
        connection.execute(upsert("postgresql", budgets).on_conflict_do_nothing(), [{"scope": scope} for scope in scopes])
    query = select(budgets).where(budgets.c.scope.in_(scopes)).order_by(budgets.c.scope).with_for_update()
    for row in connection.execute(query).mappings():
        found[row["scope"]] = {name: row[name] for name in _COLUMNS}
    return found


def read_spent(connection: Connection, scopes: Iterable[str]) -> dict[str, int]:
    """The amount of each budget that is spent, maybe billed, or reserved for calls in flight, in pico-dollars. Locks nothing."""
    one = budgets.c
    query = select(one.scope, one.spent_pico + one.maybe_pico + one.reserved_pico).where(one.scope.in_(list(scopes)))
    return dict.fromkeys(scopes, 0) | {scope: int(spent) for scope, spent in connection.execute(query)}


def read_dataset_spend(connection: Connection) -> list[tuple[str, str, Decimal]]:
    """Name and provider of each dataset, and what was spent on it in US dollars. Reads one row of each."""
    query = select(datasets.c.name, datasets.c.provider, budgets.c.spent_pico).join(
        budgets, budgets.c.scope == literal("dataset:") + cast(datasets.c.id, String)
    )
    return [(name, provider, usd(int(pico))) for name, provider, pico in connection.execute(query)]


def write_budgets(connection: Connection, changed: Mapping[str, Mapping[str, Any]]) -> None:
    """Write changed budgets back, as read by `read_budgets`."""
    if not changed:
        return
    statement = upsert(connection.dialect.name, budgets)
    values = {name: statement.excluded[name] for name in _COLUMNS}
    rows = [{"scope": scope, **budget} for scope, budget in changed.items()]
    connection.execute(statement.on_conflict_do_update(index_elements=["scope"], set_=values), rows)
