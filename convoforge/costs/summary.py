"""Costs of a period: what was spent, on what, what came of it, and what of it was waste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from convoforge.costs.period import GROUPS, GroupBy, Period
from convoforge.costs.totals import GroupTotals, Latency
from convoforge.errors import ConfigError
from convoforge.models import Provider
from convoforge.pricing import usd

__all__ = ["Attempts", "Cache", "Conversations", "CostSummary", "GroupBy", "Latency", "MaybeBilled", "Waste", "cost_summary"]


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
    """Attempts that may have been billed without our knowing, and the most that they can have cost, in US dollars."""

    attempts: int
    at_most_usd: Decimal


@dataclass(frozen=True, slots=True)
class Waste:
    """What was paid for nothing. Each dollar of the total is in one of: the accepted conversations, what a judge has answered,
    `dropped`, `superseded`, `retried`.

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
    """What happened in a period. Money is exact US dollars.

    `input_tokens` excludes cached ones; `thinking_tokens` are part of `output_tokens`. `maybe_billed` counts calls that may have been
    charged without our knowing; their cost is in no figure but `waste`. `accepted` are those answers of the period that their dataset
    would publish today. `judge` are the answers of judges, which are in no other count of answers.
    """

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
    judge: Attempts
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
    """The costs from `since` (inclusive) to `until` (exclusive) for one provider, and the same for each group of `by`.

    Raises `ConfigError` for another `by` than there is.
    """
    if by is not None and by not in GROUPS:
        raise ConfigError(f"unknown group '{by}'. Known: {', '.join(GROUPS)}.")
    if connection.dialect.name == "postgresql" and not connection.in_transaction():
        # several queries that must see the same rows: an attempt that ends between two of them would be in neither
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    from convoforge.costs.aggregate import read_totals  # polars takes 0.2 s to import

    total, groups = read_totals(connection, Period(provider, since, until), by)
    return _summarize(total, None if by is None else {name: _summarize(group) for name, group in groups.items()})


_COUNTS = (
    *("attempts", "succeeded", "failed", "retries", "conversations", "accepted"),
    *("input_tokens", "output_tokens", "thinking_tokens", "cache_read_tokens"),
)


def _summarize(group: GroupTotals, groups: Mapping[str, CostSummary] | None = None) -> CostSummary:
    totals = group.totals
    cost, cache_write_tokens = usd(totals.cost_pico), totals.cache_write_5m_tokens + totals.cache_write_1h_tokens
    prompt = totals.input_tokens + totals.cache_read_tokens + cache_write_tokens
    dropped = totals.answers - totals.accepted - totals.superseded
    dropped_pico = totals.answers_pico - totals.accepted_pico - totals.superseded_pico
    return CostSummary(
        **{name: getattr(totals, name) for name in _COUNTS},
        maybe_billed=totals.maybe,
        cache_write_tokens=cache_write_tokens,
        total_cost_usd=cost,
        cost_per_request_usd=_divide(cost, totals.attempts),
        cost_per_conversation_usd=_divide(cost, totals.conversations),
        cost_per_accepted_usd=_divide(cost, totals.accepted),
        success_rate=totals.succeeded / totals.attempts if totals.attempts else None,
        latency_ms=group.latency,
        waste=Waste(
            dropped=Conversations(dropped, usd(dropped_pico)),
            superseded=Conversations(totals.superseded, usd(totals.superseded_pico)),
            retried=Attempts(totals.retried, usd(totals.retried_pico)),
            maybe_billed=MaybeBilled(totals.maybe, usd(totals.maybe_pico)),
        ),
        cache=Cache(totals.cache_read_tokens / prompt if prompt else None, usd(totals.saved_pico)),
        batch=Attempts(totals.batched, usd(totals.batched_pico)),
        judge=Attempts(totals.judged, usd(totals.judged_pico)),
        groups=groups,
    )


def _divide(cost: Decimal, count: int) -> Decimal | None:
    return cost / count if count else None


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "groups" or one is not None}
    return value
