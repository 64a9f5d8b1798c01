"""Adds up attempts, and what came of them.

The database adds up what every attempt counts in. polars computes the percentiles of what calls took, and what the sums are corrected by
for answers on which more than their score decides. It takes 0.2 s to import: import this module only where costs are computed.

An answer is accepted where its dataset would publish it today, under the plan, threshold and number per cell of its last build. So a
review or a new threshold changes what a past month has brought, and the months add up to the whole. See `accepted`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import chain
from operator import add
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, String, case, cast, false, func, literal, or_, select

from convoforge.costs.accepted import is_accepted_by_score, read_accepted
from convoforge.costs.period import GroupBy, Period, select_group
from convoforge.costs.totals import GroupTotals, Latency, Totals
from convoforge.ledger.requests import split_chunks
from convoforge.ledger.tables import IS_ATTEMPT_OF, answers, datasets, generation_logs, requests
from convoforge.models import Usage
from convoforge.pricing import Price

_LOGS = generation_logs.c


def read_totals(connection: Connection, period: Period, by: GroupBy | None) -> tuple[GroupTotals, dict[str, GroupTotals]]:
    """What a period's attempts add up to, and the same of each group by its name."""
    group = select_group(by, connection.dialect.name).label("name")
    groups, latency_texts = _read_sums(connection, period, by)
    for name, totals in chain(_read_failures(connection, period, group), _read_corrections(connection, period, group)):
        groups[name] += totals
    latency, latencies = _compute_latencies(latency_texts)
    total = GroupTotals(sum(groups.values(), Totals()), latency)
    return total, {name: GroupTotals(groups[name], latencies.get(name, Latency())) for name in sorted(groups)}


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _sum(column: ColumnElement[int], condition: ColumnElement[bool] | None = None) -> ColumnElement[int]:
    return func.coalesce(func.sum(column if condition is None else case((condition, column))), 0)


_IS_JUDGED = answers.c.kind == "judged"
_HAS_ANSWER = answers.c.kind != "judged"  # null, and so not counted, where there is none
_TOKENS = tuple(Usage.__dataclass_fields__)
_SUMS: dict[str, ColumnElement[int]] = {
    "attempts": func.count(),
    "cost_pico": _sum(_LOGS.cost_pico),
    "succeeded": _count(_LOGS.status == "succeeded"),
    "retries": _count(_LOGS.attempt > 1),
    **{name: _sum(_LOGS[name]) for name in _TOKENS},
    "batched": func.count(_LOGS.batch_id),
    "batched_pico": _sum(_LOGS.cost_pico, _LOGS.batch_id.is_not(None)),
    "conversations": _count(answers.c.kind == "ok"),
    "answers": _count(_HAS_ANSWER),
    "answers_pico": _sum(_LOGS.cost_pico, _HAS_ANSWER),
    "accepted": _count(is_accepted_by_score()),
    "accepted_pico": _sum(_LOGS.cost_pico, is_accepted_by_score()),
    "judged": _count(_IS_JUDGED),
    "judged_pico": _sum(_LOGS.cost_pico, _IS_JUDGED),
}


def _select_attempts(period: Period, *columns: ColumnElement[Any]) -> Select[Any]:
    """Columns of a period's attempts, of the answers they brought, and of their datasets."""
    return (
        select(*columns)
        .select_from(generation_logs)
        .outerjoin(answers, IS_ATTEMPT_OF)
        .outerjoin(datasets, datasets.c.id == _LOGS.dataset_id)
        .where(period.match_attempts())
    )


def _read_sums(connection: Connection, period: Period, by: GroupBy | None) -> tuple[dict[str, Totals], list[tuple[str, str]]]:
    """Sums by group, with all answers accepted whose score is high enough; and by group the milliseconds of successful calls, as texts
    with commas between: a million come out of either database in a third of the time that a million rows take."""
    group = select_group(by, connection.dialect.name)
    latencies = func.aggregate_strings(cast(case((_LOGS.status == "succeeded", _LOGS.latency_ms)), String), ",")
    prices = connection.execute(select(_LOGS.price).where(period.match_attempts(), _LOGS.price.is_not(None)).distinct()).scalars()
    query = (
        _select_attempts(period, group, latencies, *_SUMS.values(), _sum(_compute_saved_pico(prices))).with_hint(
            answers, "INDEXED BY ix_answers_outcome", "sqlite"
        )  # it would read the answers themselves, at twice the time
    )
    if by is not None:  # to group by one name alone would sort all rows
        query = query.group_by(group)
    groups: dict[str, Totals] = defaultdict(Totals)
    texts = []
    for name, text, *sums in connection.execute(query):
        groups[name] = Totals(**dict(zip((*_SUMS, "saved_pico"), map(int, sums), strict=True)))
        texts += [(name, text)] if text else []
    return groups, texts


def _read_failures(connection: Connection, period: Period, group: ColumnElement[Any]) -> Iterator[tuple[str, Totals]]:
    """The sums of attempts that failed or whose bill is not known: by themselves, as they are few and each is asked for its state."""
    kinds = group, _LOGS.status, _LOGS.billing
    sums = func.count(), _sum(_LOGS.cost_pico), _sum(_LOGS.maybe_pico + _LOGS.reserved_pico)  # reserved while the call is open
    query = _select_attempts(period, *kinds, *sums).where(or_(_LOGS.status != "succeeded", _LOGS.billing == "maybe"))
    for name, status, billing, count, cost, maybe in connection.execute(query.group_by(*kinds)):
        if status in ("failed", "lost"):
            yield name, Totals(failed=count)
        if status == "failed" and billing == "billed":
            yield name, Totals(retried=count, retried_pico=int(cost))
        if billing == "maybe":
            yield name, Totals(maybe=count, maybe_pico=int(maybe))


def _compute_saved_pico(prices: Iterable[str]) -> ColumnElement[int]:
    """What the prompt cache saved in an attempt, by the price that it was billed at."""
    saved = []
    for price in prices:
        per_input, _, per_write_5m, per_write_1h, per_read = Price.parse(price).pico_per_token
        worth = {
            _LOGS.cache_read_tokens: per_input - per_read,
            _LOGS.cache_write_5m_tokens: per_input - per_write_5m,
            _LOGS.cache_write_1h_tokens: per_input - per_write_1h,
        }
        amounts = (tokens * literal(each, BigInteger) for tokens, each in worth.items())
        saved.append((_LOGS.price == price, reduce(add, amounts)))
    return case(*saved, else_=0) if saved else literal(0)


def _read_corrections(connection: Connection, period: Period, group: ColumnElement[Any]) -> Iterator[tuple[str, Totals]]:
    """What to add to the sums by group, as more than their score decides on some answers."""
    found = read_accepted(connection)
    held = func.coalesce(requests.c.answer == answers.c.attempt, false())
    by_score = func.coalesce(is_accepted_by_score(), false())
    query = _select_attempts(period, group, _LOGS.request_id, _LOGS.cost_pico, held, by_score).join(
        requests, requests.c.id == answers.c.request_id
    )
    rows = [
        tuple(row)
        for ids in split_chunks(sorted(found.judged))
        for row in connection.execute(query.where(_LOGS.request_id.in_(ids)))
    ]
    frame = pl.DataFrame(rows, ["name", "request_id", "pico", "is_held", "by_score"], orient="row")
    is_held, pico = pl.col("is_held").cast(pl.Boolean), pl.col("pico")
    is_accepted = is_held & pl.col("request_id").is_in(list(found.accepted))
    accepted, superseded = is_accepted.cast(pl.Int64) - pl.col("by_score").cast(pl.Int64), (~is_held).cast(pl.Int64)
    sums = {
        "accepted": accepted.sum(),
        "accepted_pico": (accepted * pico).sum(),
        "superseded": superseded.sum(),
        "superseded_pico": (superseded * pico).sum(),
    }
    for name, *values in frame.group_by("name").agg(**sums).rows():
        yield name, Totals(**dict(zip(sums, values, strict=True)))


def _compute_latencies(texts: list[tuple[str, str]]) -> tuple[Latency, dict[str, Latency]]:
    """The latency of all calls, and of each group of them, from texts of their milliseconds."""
    frame = pl.DataFrame(texts, {"name": pl.String, "ms": pl.String}, orient="row")
    calls = frame.select("name", pl.col("ms").str.split(",")).explode("ms").select("name", pl.col("ms").cast(pl.Int64))
    ordered, count = pl.col("ms").sort(), pl.len().cast(pl.Int64)
    # nearest rank in whole numbers: the ⌈n·p/100⌉th of n
    ranks = (ordered.get((count * percent + 99) // 100 - 1, null_on_oob=True) for percent in (50, 95, 99))
    figures = dict(zip(("count", "sum", "p50", "p95", "p99"), (count, pl.col("ms").sum(), *ranks), strict=True))

    def make_latency(count: int, total: int, *percentiles: int) -> Latency:
        return Latency(round(total / count, 1), *percentiles) if count else Latency()

    groups = calls.group_by("name").agg(**figures).rows()
    return make_latency(*calls.select(**figures).row(0)), {name: make_latency(*values) for name, *values in groups}
