"""A period of the books: which pages lie wholly in it, which attempts are read by themselves, and what both add up to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, false, func, literal_column, or_, select

from convoforge.ledger.rollups import BY_THEMSELVES, ON_PAGES, SUMS, Page, hour_of, page_columns, sum_columns
from convoforge.ledger.tables import datasets, generation_logs, pages
from convoforge.models import Provider

GroupBy = Literal["run", "dataset", "model", "template", "day"]
GROUPS: tuple[GroupBy, ...] = ("run", "dataset", "model", "template", "day")

_HOUR = timedelta(hours=1)
_LOGS = generation_logs.c


@dataclass(frozen=True, slots=True)
class Period:
    """The attempts of one provider begun from `since` (inclusive) to `until` (exclusive); None is without an end.

    Pages are of whole hours. An hour that the period cuts is read from its attempts, as are those that are on no page.
    """

    provider: Provider
    since: datetime | None = None
    until: datetime | None = None

    def of_pages(self) -> ColumnElement[bool]:
        """The pages whose hour lies in the period as a whole."""
        conditions = [pages.c.provider == self.provider]
        if self.since is not None:
            whole = hour_of(self.since)
            conditions.append(pages.c.hour >= (whole if whole == self.since else whole + _HOUR))
        if self.until is not None:
            conditions.append(pages.c.hour < hour_of(self.until))
        return and_(*conditions)

    def of_logs(self) -> ColumnElement[bool]:
        """Every attempt of the period."""
        conditions = [_LOGS.provider == self.provider]
        conditions += [_LOGS.started_at >= self.since] if self.since is not None else []
        conditions += [_LOGS.started_at < self.until] if self.until is not None else []
        return and_(*conditions)

    def of_cut_hours(self) -> ColumnElement[bool]:
        """The attempts of hours that are in the period in part."""
        return or_(false(), *(and_(_LOGS.started_at >= start, _LOGS.started_at < end) for start, end in self.cut_hours()))

    def cut_hours(self) -> set[tuple[datetime, datetime]]:
        """The parts of hours that are in the period: at its ends, or it all where it is shorter than an hour."""
        first, last, cut = self.since, self.until, set()
        if first is not None and (hour := hour_of(first)) != first:
            cut.add((first, min(hour + _HOUR, last or hour + _HOUR)))
        if last is not None and (hour := hour_of(last)) != last:
            cut.add((max(hour, first or hour), last))
        return cut


class Line(NamedTuple):
    """Attempts of one group that have price, batch, status and billing in common, added up. Money is in pico-dollars; `maybe_pico` is
    the most that calls may have cost of which nobody knows whether they were billed."""

    group: str
    price: str
    batched: bool
    status: str
    billing: str
    attempts: int
    retries: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    thinking_tokens: int
    cost_pico: int
    maybe_pico: int


_IN_COMMON = ("price", "batched", "status", "billing")


def read_lines(connection: Connection, period: Period, by: GroupBy | None) -> Iterator[Line]:
    """What a period adds up to. A group may have several lines that are alike: from pages, and from what is on none."""
    dialect = connection.dialect.name
    names = group_names(connection, by)
    columns = dict(zip(Page._fields, page_columns(dialect), strict=True))
    alike = [columns[name] for name in _IN_COMMON]
    at_most = func.coalesce(func.sum(_LOGS.maybe_pico + _LOGS.reserved_pico), 0)  # what is reserved is so while it is open
    single = _grouped(group_of_log(by, dialect), alike, [*list(sum_columns())[:-1], at_most]).where(period.of_logs())
    queries: list[Select[Any]] = [
        _grouped(
            group_of_page(by, dialect), [pages.c[name] for name in _IN_COMMON], [func.sum(pages.c[name]) for name in SUMS]
        ).where(period.of_pages()),
        single.where(_LOGS.status.in_(BY_THEMSELVES)),
    ]
    if period.cut_hours():
        queries.append(single.where(_LOGS.status.in_(ON_PAGES), period.of_cut_hours()))
    for query in queries:
        for group, price, batched, status, billing, *sums in connection.execute(query):
            yield Line(names.get(group, str(group)), price, bool(batched), status, billing, *map(int, sums))


def _grouped(group: ColumnElement[Any], alike: list[Any], sums: list[Any]) -> Select[Any]:
    return select(group, *alike, *sums).group_by(group, *alike)


def group_of_page(by: GroupBy | None, dialect: str) -> ColumnElement[Any]:
    """What a page is grouped by."""
    return _group(by, dialect, pages.c, pages.c.hour)


def group_of_log(by: GroupBy | None, dialect: str) -> ColumnElement[Any]:
    """What an attempt is grouped by."""
    return _group(by, dialect, _LOGS, _LOGS.started_at)


def group_names(connection: Connection, by: GroupBy | None) -> dict[Any, str]:
    """What groups are called whose value is not their name."""
    if by != "dataset":
        return {}
    return {row.id: row.name for row in connection.execute(select(datasets.c.id, datasets.c.name))}


def _group(by: GroupBy | None, dialect: str, columns: Any, at: ColumnElement[Any]) -> ColumnElement[Any]:
    # literal: PostgreSQL does not see that two parameters are alike
    match by:
        case None:
            return literal_column("CAST('' AS VARCHAR(1))")
        case "day" if dialect == "sqlite":
            return func.substr(at, literal_column("1"), literal_column("10"))
        case "day":
            return func.to_char(func.timezone(literal_column("'UTC'"), at), literal_column("'YYYY-MM-DD'"))
    column: ColumnElement[Any] = columns[{"run": "run_id", "dataset": "dataset_id"}.get(by, by)]
    return column
