"""The books, read: what was spent in a period, on what, what came of it, and what of it was waste."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from operator import mul
from typing import Any

from sqlalchemy import Connection

from convoforge.costs.outcomes import AnswerTotals, read_outcomes
from convoforge.costs.period import GROUPS, GroupBy, Line, Period, read_lines
from convoforge.errors import ConfigError
from convoforge.models import Provider
from convoforge.pricing import Price, usd

__all__ = ["Attempts", "Cache", "Conversations", "CostSummary", "GroupBy", "Latency", "MaybeBilled", "Waste", "cost_summary"]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long successful calls took, in milliseconds; None where there was none. Percentiles are exact, by nearest rank."""

    mean: float | None
    p50: int | None
    p95: int | None
    p99: int | None


@dataclass(frozen=True, slots=True)
class Conversations:
    """Answers, and what was paid for them in US dollars."""

    conversations: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts, and what was paid for them in US dollars."""

    attempts: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class MaybeBilled:
    """Attempts that may have been billed without our being told, and the most that they can have cost, in US dollars."""

    attempts: int
    at_most_usd: Decimal


@dataclass(frozen=True, slots=True)
class Waste:
    """What was paid for nothing. Each dollar of the total is in one of: the accepted conversations, `dropped`, `superseded`, `retried`.

    `dropped` are answers that are not among the accepted: parse errors, refusals, truncated ones, duplicates, those below the
    threshold or rejected in a review. `superseded` were replaced by a refresh. `retried` are attempts that failed and were billed all
    the same. `maybe_billed` is in no other figure of money: it says how much more the bill may be.
    """

    dropped: Conversations
    superseded: Conversations
    retried: Attempts
    maybe_billed: MaybeBilled


@dataclass(frozen=True, slots=True)
class Cache:
    """What the prompt cache brought. `hit_rate` is the share of prompt tokens that were read from it. `saved_usd` is what they would
    have cost as plain input, less what reading them and the extra price of writing them cost: negative where it did not pay.

    It is exact by the price of each attempt. Of a price with tiers for long prompts it takes the lowest: a prompt of this project has
    a hundredth of the length at which a tier begins.
    """

    hit_rate: float | None
    saved_usd: Decimal


@dataclass(frozen=True, slots=True)
class CostSummary:
    """What happened in a period. Money is exact US dollars; `input_tokens` excludes cached ones, `thinking_tokens`
    are part of `output_tokens`. `maybe_billed` counts calls that may
    have been charged without our being told; their cost is in no figure but `waste`. `accepted` are those answers of the
    period that their dataset would publish today, by the rule that `publish` goes by: see `costs_outcomes`."""

    attempts: int
    succeeded: int
    failed: int
    retries: int
    maybe_billed: int
    conversations: int
    accepted: int
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    total_cost_usd: Decimal
    cost_per_request_usd: Decimal | None
    cost_per_conversation_usd: Decimal | None
    cost_per_accepted_usd: Decimal | None
    success_rate: float | None
    latency_ms: Latency
    waste: Waste
    cache: Cache
    batch: Attempts
    groups: Mapping[str, CostSummary] | None = None

    @property
    def wasted_usd(self) -> Decimal:
        """What was paid for answers and attempts that are of no use."""
        waste = self.waste
        return waste.dropped.cost_usd + waste.superseded.cost_usd + waste.retried.cost_usd

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
    """The books from `since` (inclusive) to `until` (exclusive) for one provider, and the same for each group of `by`.

    Raises `ConfigError` for another `by` than there is.
    """
    if by is not None and by not in GROUPS:
        raise ConfigError(f"unknown group '{by}'. Known: {', '.join(GROUPS)}.")
    if connection.dialect.name == "postgresql" and not connection.in_transaction():
        # several queries that must see the same rows: an attempt that ends between two of them would be in neither
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    period = Period(provider, since, until)
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in read_lines(connection, period, by):
        lines[line.group].append(line)
    found = read_outcomes(connection, period, by)
    everything = [line for some in lines.values() for line in some]
    latency, latencies = _latencies(found.latencies)
    total = _summary(everything, found.total, latency)
    if by is None:
        return total
    none = _latency({})
    groups = {name: _summary(some, found.groups[name], latencies.get(name, none)) for name, some in sorted(lines.items())}
    return replace(total, groups=groups)


def _summary(lines: Sequence[Line], outcome: AnswerTotals, latency: Latency) -> CostSummary:
    """The figures of a group, from what its attempts add up to and what came of them."""

    def count(some: Iterable[Line]) -> int:
        return sum(line.attempts for line in some)

    def spent(some: Iterable[Line]) -> Decimal:
        return usd(sum(line.cost_pico for line in some))

    attempts, succeeded = count(lines), count(line for line in lines if line.status == "succeeded")
    cost = spent(lines)
    maybe = [line for line in lines if line.billing == "maybe"]
    retried = [line for line in lines if line.status == "failed" and line.billing == "billed"]
    batched = [line for line in lines if line.batched]
    return CostSummary(
        attempts=attempts,
        succeeded=succeeded,
        failed=count(line for line in lines if line.status in ("failed", "lost")),
        retries=sum(line.retries for line in lines),
        maybe_billed=count(maybe),
        conversations=outcome.conversations,
        accepted=outcome.accepted,
        input_tokens=sum(line.input_tokens for line in lines),
        output_tokens=sum(line.output_tokens for line in lines),
        thinking_tokens=sum(line.thinking_tokens for line in lines),
        cache_read_tokens=sum(line.cache_read_tokens for line in lines),
        cache_write_tokens=sum(line.cache_write_5m_tokens + line.cache_write_1h_tokens for line in lines),
        total_cost_usd=cost,
        cost_per_request_usd=_each(cost, attempts),
        cost_per_conversation_usd=_each(cost, outcome.conversations),
        cost_per_accepted_usd=_each(cost, outcome.accepted),
        success_rate=succeeded / attempts if attempts else None,
        latency_ms=latency,
        waste=Waste(
            dropped=Conversations(outcome.dropped, usd(outcome.dropped_pico)),
            superseded=Conversations(outcome.superseded, usd(outcome.superseded_pico)),
            retried=Attempts(count(retried), spent(retried)),
            maybe_billed=MaybeBilled(count(maybe), usd(sum(line.maybe_pico for line in maybe))),
        ),
        cache=_cache(lines),
        batch=Attempts(count(batched), spent(batched)),
    )


def _each(cost: Decimal, count: int) -> Decimal | None:
    return cost / count if count else None


def _cache(lines: Sequence[Line]) -> Cache:
    read = sum(line.cache_read_tokens for line in lines)
    prompt = read + sum(line.input_tokens + line.cache_write_5m_tokens + line.cache_write_1h_tokens for line in lines)
    return Cache(read / prompt if prompt else None, usd(sum(_saved_pico(line) for line in lines)))


def _saved_pico(line: Line) -> int:
    if not line.price or not (line.cache_read_tokens or line.cache_write_5m_tokens or line.cache_write_1h_tokens):
        return 0
    per_input, _, per_write_5m, per_write_1h, per_read = Price.parse(line.price).pico_per_token
    return (
        line.cache_read_tokens * (per_input - per_read)
        - line.cache_write_5m_tokens * (per_write_5m - per_input)
        - line.cache_write_1h_tokens * (per_write_1h - per_input)
    )


def _latencies(texts: Mapping[str, Sequence[str]]) -> tuple[Latency, dict[str, Latency]]:
    """Of all groups together, and of each, from milliseconds written with commas between: as texts a million of them come out of either
    database in a third of the time that a million rows take."""
    counts: Counter[int] = Counter()
    groups = {}
    for group, some in texts.items():
        own: Counter[int] = Counter()
        for text in some:
            own.update(map(int, text.split(",")))
        counts.update(own.elements())
        groups[group] = _latency(own)
    return _latency(counts), groups


def _latency(counts: Mapping[int, int]) -> Latency:
    """From milliseconds and how often they were taken. Nearest rank: the ⌈n·p/100⌉th of n, in whole numbers."""
    ordered = sorted(counts)
    passed = list(accumulate(counts[value] for value in ordered))
    if not passed:
        return Latency(None, None, None, None)
    p50, p95, p99 = (ordered[bisect_left(passed, -(-passed[-1] * percent // 100))] for percent in (50, 95, 99))
    return Latency(round(sum(map(mul, counts, counts.values())) / passed[-1], 1), p50, p95, p99)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "groups" or one is not None}
    return value
