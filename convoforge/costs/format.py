"""A summary of costs as text: what the command prints and the flow leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from convoforge.costs.summary import Cache, CostSummary, Latency, MaybeBilled
from convoforge.pricing import dollars

COLUMNS = ("attempts", "failed", "retries", "accepted", "cost", "per accepted", "wasted", "95% within")


def format_summary(summary: CostSummary) -> list[tuple[str, str]]:
    """A summary, line by line: what, and how much of it. Parts of a figure are indented by two blanks."""
    waste, cache, latency = summary.waste, summary.cache, summary.latency_ms
    return [
        ("total", dollars(summary.total_cost_usd)),
        ("  per attempt", dollars(summary.cost_per_request_usd)),
        ("  per conversation", dollars(summary.cost_per_conversation_usd)),
        ("  per accepted one", dollars(summary.cost_per_accepted_usd)),
        *(
            [("  judge", _paid(summary.judge.cost_usd, summary.judge.attempts, "answer", "read by a judge"))]
            if summary.judge.attempts
            else []
        ),
        ("wasted", f"{dollars(summary.wasted_usd)}{_share(summary.wasted_usd, summary.total_cost_usd)}"),
        (
            "  not accepted",
            _paid(waste.dropped.cost_usd, waste.dropped.conversations, "answer", "declined, unusable, not good enough or twice"),
        ),
        ("  replaced", _paid(waste.superseded.cost_usd, waste.superseded.conversations, "answer", "a refresh took their place")),
        ("  failed", _paid(waste.retried.cost_usd, waste.retried.attempts, "attempt", "billed all the same")),
        ("maybe billed", _maybe(waste.maybe_billed)),
        ("attempts", _attempts(summary)),
        ("  retries", f"{summary.retries:,} of them"),
        ("conversations", f"{summary.conversations:,}, {summary.accepted:,} of them accepted"),
        ("tokens", f"{summary.input_tokens:,} in, {summary.output_tokens:,} out{_thought(summary)}"),
        ("prompt cache", f"{summary.cache_read_tokens:,} tokens read, {summary.cache_write_tokens:,} written{_hits(cache)}"),
        ("batches", _paid(summary.batch.cost_usd, summary.batch.attempts, "attempt", "through the batch API")),
        ("latency", "-" if latency.p50 is None else _seconds(latency)),
    ]


def format_groups(groups: Mapping[str, CostSummary]) -> Iterator[tuple[str, ...]]:
    """A row for each group: its name, and what `COLUMNS` are called."""
    for name, group in groups.items():
        p95 = group.latency_ms.p95
        yield (
            name,
            *(f"{count:,}" for count in (group.attempts, group.failed, group.retries, group.accepted)),
            dollars(group.total_cost_usd),
            dollars(group.cost_per_accepted_usd),
            dollars(group.wasted_usd),
            "-" if p95 is None else f"{p95 / 1000:.1f} s",
        )


def format_line(summary: CostSummary) -> str:
    """The total, what an accepted conversation costs, and the waste."""
    return (
        f"{dollars(summary.total_cost_usd)} for {summary.attempts:,} attempts; {dollars(summary.cost_per_accepted_usd)} for each of "
        f"{summary.accepted:,} accepted; {dollars(summary.wasted_usd)} wasted{_share(summary.wasted_usd, summary.total_cost_usd)}"
    )


def _paid(amount: Decimal, count: int, what: str, why: str) -> str:
    return f"{dollars(amount)} for {count:,} {what}{'' if count == 1 else 's'}: {why}" if count else "nothing"


def _maybe(maybe: MaybeBilled) -> str:
    if not maybe.attempts:
        return "nothing"
    calls = f"{maybe.attempts:,} call{'' if maybe.attempts == 1 else 's'}"
    return f"at most {dollars(maybe.at_most_usd)} more, for {calls} whose bill is not known"


def _attempts(summary: CostSummary) -> str:
    rate = f" ({summary.success_rate:.1%})" if summary.success_rate is not None else ""
    under_way = summary.attempts - summary.succeeded - summary.failed
    return (
        f"{summary.attempts:,}: {summary.succeeded:,} succeeded{rate}, {summary.failed:,} failed"
        f"{f', {under_way:,} under way' if under_way else ''}"
    )


def _thought(summary: CostSummary) -> str:
    return f", {summary.thinking_tokens:,} of them thinking" if summary.thinking_tokens else ""


def _hits(cache: Cache) -> str:
    if cache.hit_rate is None or not (cache.hit_rate or cache.saved_usd):
        return ""
    saved = f"{dollars(cache.saved_usd)} saved" if cache.saved_usd >= 0 else f"{dollars(-cache.saved_usd)} more than without"
    return f": {cache.hit_rate:.1%} hits, {saved}"


def _share(part: Decimal, whole: Decimal) -> str:
    return f", {part / whole:.1%} of the total" if whole else ""


def _seconds(latency: Latency) -> str:
    half, most, nearly_all = ((ms or 0) / 1000 for ms in (latency.p50, latency.p95, latency.p99))
    return f"{half:.1f} s in half of the calls, up to {most:.1f} s in 95%, up to {nearly_all:.1f} s in 99%"
