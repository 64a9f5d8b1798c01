"""The pages of the ledger: attempts that have ended, added up by hour, run, template and what else costs are asked by.

A million attempts are read in some thousand rows: the sums took 10 s from the rows, and take 0.02 s from the pages. On pages are the
attempts that have succeeded or failed, each since the transaction that ended it, and never changed after it: so the pages do not drift
from the rows. Those that are open or lost are few, and read by themselves. Whoever ends attempts by other ways than
`finish_attempts` calls `rebuild_pages`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, literal_column, select, update

from convoforge.ledger.dialects import upsert
from convoforge.ledger.tables import answers, generation_logs, pages

SUMS = (
    "attempts",
    "retries",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "thinking_tokens",
    "cost_pico",
    "maybe_pico",
)

ON_PAGES, BY_THEMSELVES = ("succeeded", "failed"), ("open", "lost")

CONTENT_KEY = 12
"""So many characters of a content's hash are kept as its key. Contents whose keys are alike are compared by their whole hash."""

_LOGS = generation_logs.c


class Page(NamedTuple):
    """What the attempts on a page have in common. `hour` is when it began that they were sent in; `price` is empty where none was
    written down; `batched` is whether they went through the batch API."""

    run_id: str
    hour: datetime
    template: str
    status: str
    billing: str
    dataset_id: int
    provider: str
    model: str
    price: str
    batched: bool


def hour_of(at: datetime) -> datetime:
    """The beginning of the UTC hour that a moment is in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def put_on_pages(connection: Connection, entries: Sequence[tuple[Page, tuple[int, ...]]]) -> list[int]:
    """Add attempts to their pages: for each its page and what it adds to the `SUMS`. Returns the pages' ids, in the same order."""
    sums: dict[Page, tuple[int, ...]] = {}
    for page, values in entries:
        found = sums.get(page)
        sums[page] = values if found is None else tuple(map(int.__add__, found, values))
    statement = _upsert(connection.dialect.name)
    ids = {}
    for page in sorted(sums):  # one order for everyone: no deadlock
        row = dict(zip(_COLUMNS, (*page, *sums[page]), strict=True))
        ids[page] = connection.execute(statement, row).scalar_one()
    return [ids[page] for page, _ in entries]


def rebuild_pages(connection: Connection) -> None:
    """Make all pages anew from the rows. Nobody else may write meanwhile: on PostgreSQL it waits until nobody does, and lets nobody."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE generation_logs, answers, pages IN EXCLUSIVE MODE")
    connection.execute(delete(pages))
    dimensions = page_columns(connection.dialect.name)
    added = select(*dimensions, *sum_columns()).where(_LOGS.status.in_(ON_PAGES)).group_by(*dimensions)
    connection.execute(insert(pages).from_select([*_COLUMNS], added))
    mine = and_(_LOGS.request_id == answers.c.request_id, _LOGS.attempt == answers.c.attempt)
    key = func.substr(answers.c.content_hash, 1, CONTENT_KEY)
    of_log = {"content_key": key, "page": pages.c.id, "paid_pico": _LOGS.cost_pico, "latency_ms": _LOGS.latency_ms}
    connection.execute(update(answers).values(of_log).where(mine, is_on(connection.dialect.name)))


def is_on(dialect: str) -> ColumnElement[bool]:
    """Whether a log belongs on a page."""
    return and_(*(pages.c[name] == column for name, column in zip(Page._fields, page_columns(dialect), strict=True)))


def page_columns(dialect: str) -> list[ColumnElement[Any]]:
    """The page that a log belongs on, in the order of `Page`."""
    if dialect == "sqlite":
        hour: ColumnElement[Any] = func.substr(_LOGS.started_at, literal_column("1"), literal_column("13")).concat(
            literal_column("':00:00.000000'")
        )
    else:
        hour = func.date_trunc(literal_column("'hour'"), _LOGS.started_at, literal_column("'UTC'"))
    price = func.coalesce(_LOGS.price, literal_column("''"))
    own = {"hour": hour, "price": price, "batched": _LOGS.batch_id.is_not(None)}
    return [own[name] if name in own else _LOGS[name] for name in Page._fields]


def sum_columns() -> Iterable[ColumnElement[Any]]:
    """What logs add up to, in the order of `SUMS`."""
    yield func.count().label("attempts")
    yield func.coalesce(func.sum(case((_LOGS.attempt > 1, 1), else_=0)), 0).label("retries")
    for name in SUMS[2:]:
        yield func.coalesce(func.sum(_LOGS[name]), 0).label(name)


_COLUMNS = (*Page._fields, *SUMS)


@cache
def _upsert(dialect: str) -> Any:
    statement = upsert(dialect, pages)
    added = {name: pages.c[name] + statement.excluded[name] for name in SUMS}
    return statement.on_conflict_do_update(index_elements=[*Page._fields], set_=added).returning(pages.c.id)
