"""The ledger: whether it opens, is of this release, has its indexes; what the last week's calls came to, and the day's budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, inspect, select
from sqlalchemy.engine import make_url

from convoforge.costs.summary import cost_summary
from convoforge.finding import Finding, bad, good, warning
from convoforge.ledger import Ledger
from convoforge.ledger.budgets import list_budget_scopes, name_account, read_spent
from convoforge.ledger.tables import HEAD, datasets, metadata
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import dollars, pico, usd
from convoforge.project import show_database
from convoforge.settings import Settings

WEEK = timedelta(days=7)
MANY_FAILURES = 0.1
"""The share of failed calls from which on somebody should look."""


def check_ledger(settings: Settings) -> Iterator[Finding]:
    """The database, its schema and its indexes. A ledger that is not there yet is not made, an older one is migrated, as a build would."""
    where = show_database(settings.database_url)
    if _is_missing(settings):
        yield good("ledger", f"none yet at {where}: the first build makes it")
        return
    with Ledger(settings.database_url) as ledger:
        missing = ledger.read(_list_missing_indexes)
    yield good("ledger", f"{where}, schema {HEAD}, as this release has it")
    if missing:
        names = ", ".join(missing)
        yield bad(
            "indexes", f"the ledger lacks {names}: it gets slow", "restore it from a backup, or create them as tables.py has them"
        )
    else:
        yield good("indexes", f"all {sum(len(table.indexes) for table in metadata.tables.values())} are there")


def check_spending(settings: Settings, specs: Sequence[DatasetSpec], now: datetime) -> Iterator[Finding]:
    """The real calls of the last week, and what is left of each budget of today."""
    if _is_missing(settings):
        return
    with Ledger(settings.database_url) as ledger:
        week = ledger.read(cost_summary, now - WEEK, now)
        left = ledger.read(_read_days, specs, now)
    what = f"{week.attempts:,} calls in 7 days, {week.failed:,} failed; {dollars(week.total_cost_usd)}"
    if week.attempts and week.failed / week.attempts > MANY_FAILURES:
        yield warning("calls", what, "convoforge errors says what failed, and what to do; convoforge costs, what it came to")
    else:
        yield good("calls", what)
    for name, spent, cap in left:
        text = f"{name}: {dollars(usd(spent))} of today's {dollars(usd(cap))} spent or reserved"
        yield (
            warning("budget", text, "nothing more is sent until midnight UTC; `budget.day_usd` in the spec")
            if spent >= cap
            else good("budget", text)
        )


def _is_missing(settings: Settings) -> bool:
    url = make_url(settings.database_url)
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def _list_missing_indexes(connection: Connection) -> list[str]:
    seen = inspect(connection)
    return [
        str(index.name)
        for table in metadata.sorted_tables
        for index in sorted(table.indexes, key=lambda one: str(one.name))
        if index.name not in {one["name"] for one in seen.get_indexes(table.name)}
    ]


def _read_days(connection: Connection, specs: Sequence[DatasetSpec], now: datetime) -> list[tuple[str, int, int]]:
    """For each spec with a budget of the day: its name, what is spent or reserved, and the cap, in pico-dollars."""
    found = []
    for spec in specs:
        query = select(datasets.c.id).where(datasets.c.name == spec.name, datasets.c.provider == "anthropic")
        dataset = connection.execute(query).scalar()
        if spec.budget.day_usd is not None and dataset is not None:
            scope = list_budget_scopes("", dataset, now, name_account(spec.budget.account, "anthropic"))[2]
            found.append((spec.name, read_spent(connection, [scope])[scope], pico(spec.budget.day_usd)))
    return found
