"""The books, read: what was spent in a period, on what, and what came of it. Sums and percentiles are the database's work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Integer, and_, case, cast, func, literal, or_, select

from convoforge.errors import ConfigError
from convoforge.ledger.tables import answers, datasets, generation_logs, requests, reviews
from convoforge.models import Provider
from convoforge.pricing import usd

GroupBy = Literal["run", "dataset", "model", "template", "day"]

_LOGS = generation_logs.c


@dataclass(frozen=True, slots=True)
class Latency:
    """How long successful calls took, in milliseconds; None where there was none."""

    mean: float | None
    p50: int | None
    p95: int | None
    p99: int | None


@dataclass(frozen=True, slots=True)
class CostSummary:
    """What happened in a period. Money is exact US dollars; `input_tokens` excludes cached ones. `maybe_billed` counts calls that may
    have been charged without our being told; their cost is in no figure here. `accepted` is by each dataset's last threshold,
    duplicates counted once."""

    attempts: int
    succeeded: int
    failed: int
    retries: int
    maybe_billed: int
    conversations: int
    accepted: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    total_cost_usd: Decimal
    cost_per_request_usd: Decimal | None
    cost_per_accepted_usd: Decimal | None
    success_rate: float | None
    latency_ms: Latency
    groups: Mapping[str, CostSummary] | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values; money as strings, so that no digit is lost."""
        return {key: _plain(value) for key, value in asdict(self).items() if key != "groups" or value is not None}


def cost_summary(
    connection: Connection,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    by: GroupBy | None = None,
    provider: Provider = "anthropic",
) -> CostSummary:
    """The books from `since` (inclusive) to `until` (exclusive) for one provider, and the same for each group of `by`."""
    total = _summaries(connection, since, until, None, provider).get("", _EMPTY)
    if by is None:
        return total
    groups = _summaries(connection, since, until, by, provider)
    return CostSummary(**{**_shallow(total), "groups": dict(sorted(groups.items()))})


def _summaries(
    connection: Connection, since: datetime | None, until: datetime | None, by: GroupBy | None, provider: Provider
) -> dict[str, CostSummary]:
    group = _group(by, connection.dialect.name)
    period = [_LOGS.provider == provider]
    period += [_LOGS.started_at >= since] if since else []
    period += [_LOGS.started_at < until] if until else []
    sums = (
        select(
            group.label("g"),
            func.count().label("attempts"),
            _count(_LOGS.status == "succeeded").label("succeeded"),
            _count(_LOGS.status.in_(("failed", "lost"))).label("failed"),
            _count(_LOGS.attempt > 1).label("retries"),
            _count(_LOGS.billing == "maybe").label("maybe_billed"),
            *(func.sum(_LOGS[name]).label(name) for name in _SUMMED),
        )
        .where(*period)
        .group_by(group)
    )
    if by == "dataset":
        sums = sums.join(datasets, datasets.c.id == _LOGS.dataset_id)
    outcomes = _outcomes(connection, period, group)
    latencies = _latencies(connection, period, group, by)
    return {
        str(row["g"]): _summary(row, outcomes.get(str(row["g"]), (0, 0)), latencies.get(str(row["g"]), _NO_LATENCY))
        for row in connection.execute(sums).mappings()
    }


_SUMMED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cost_pico")


def _outcomes(connection: Connection, period: list[Any], group: ColumnElement[Any]) -> dict[str, tuple[int, int]]:
    """Per group: conversations made, and those of them that are accepted today."""
    last = (
        select(reviews.c.request_id, reviews.c.attempt, func.max(reviews.c.id).label("id"))
        .group_by(reviews.c.request_id, reviews.c.attempt)
        .subquery()
    )
    decided = reviews.c.decision
    accepted = and_(
        requests.c.answer == answers.c.attempt,
        answers.c.kind == "ok",
        or_(decided == "accept", and_(decided.is_(None), answers.c.score >= datasets.c.min_score)),
    )
    query = (
        select(
            group.label("g"),
            _count(answers.c.kind == "ok").label("conversations"),
            # one of each: the text's hash, within its dataset
            func.count(
                func.distinct(case((accepted, cast(_LOGS.dataset_id, Integer).concat("/").concat(answers.c.content_hash))))
            ),
        )
        .select_from(generation_logs)
        .join(answers, and_(answers.c.request_id == _LOGS.request_id, answers.c.attempt == _LOGS.attempt))
        .join(requests, requests.c.id == answers.c.request_id)
        .join(datasets, datasets.c.id == _LOGS.dataset_id)
        .outerjoin(last, and_(last.c.request_id == answers.c.request_id, last.c.attempt == answers.c.attempt))
        .outerjoin(reviews, reviews.c.id == last.c.id)
        .where(*period)
        .group_by(group)
    )
    return {str(row[0]): (int(row[1] or 0), int(row[2] or 0)) for row in connection.execute(query)}


def _latencies(connection: Connection, period: list[Any], group: ColumnElement[Any], by: str | None) -> dict[str, Latency]:
    """Per group: mean and nearest-rank percentiles of successful calls."""
    ranked = select(
        group.label("g"),
        _LOGS.latency_ms.label("ms"),
        func.row_number().over(partition_by=group, order_by=_LOGS.latency_ms).label("place"),
        func.count().over(partition_by=group).label("n"),
        func.avg(_LOGS.latency_ms).over(partition_by=group).label("mean"),
    ).where(*period, _LOGS.status == "succeeded")
    if by == "dataset":
        ranked = ranked.join(datasets, datasets.c.id == _LOGS.dataset_id)
    rows = ranked.subquery()
    # ⌈n·p/100⌉ in whole numbers
    places = [(rows.c.n * p + 99) // 100 for p in (50, 95, 99)]
    query = select(rows.c.g, rows.c.mean, *(func.min(case((rows.c.place >= place, rows.c.ms))) for place in places)).group_by(
        rows.c.g, rows.c.mean
    )
    return {
        str(g): Latency(round(float(mean), 1), int(p50), int(p95), int(p99))
        for g, mean, p50, p95, p99 in connection.execute(query)
    }


def _group(by: str | None, dialect: str) -> ColumnElement[Any]:
    match by:
        case None:
            return literal("")
        case "run":
            return _LOGS.run_id
        case "dataset":
            return datasets.c.name
        case "model":
            return _LOGS.model
        case "template":
            return _LOGS.template
        case "day":
            if dialect == "sqlite":
                return func.strftime("%Y-%m-%d", _LOGS.started_at)
            return func.to_char(func.timezone("UTC", _LOGS.started_at), "YYYY-MM-DD")
    raise ConfigError(f"unknown group '{by}'. Known: run, dataset, model, template, day.")


def _count(condition: ColumnElement[bool]) -> Any:
    return func.sum(case((condition, 1), else_=0))


def _summary(row: Mapping[Any, Any], outcome: tuple[int, int], latency: Latency) -> CostSummary:
    conversations, accepted = outcome
    cost = usd(int(row["cost_pico"] or 0))
    succeeded, attempts = int(row["succeeded"]), int(row["attempts"])
    return CostSummary(
        attempts=attempts,
        succeeded=succeeded,
        failed=int(row["failed"]),
        retries=int(row["retries"]),
        maybe_billed=int(row["maybe_billed"]),
        conversations=conversations,
        accepted=accepted,
        input_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        cache_read_tokens=int(row["cache_read_tokens"]),
        cache_write_tokens=int(row["cache_write_5m_tokens"]) + int(row["cache_write_1h_tokens"]),
        total_cost_usd=cost,
        cost_per_request_usd=cost / attempts if attempts else None,
        cost_per_accepted_usd=cost / accepted if accepted else None,
        success_rate=succeeded / attempts if attempts else None,
        latency_ms=latency,
    )


_NO_LATENCY = Latency(None, None, None, None)
_EMPTY = CostSummary(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, Decimal(0), None, None, None, _NO_LATENCY)


def _shallow(summary: CostSummary) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in CostSummary.__slots__}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "groups" or one is not None}
    return value
