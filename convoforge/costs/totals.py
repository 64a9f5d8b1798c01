"""What attempts add up to."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that successful calls took; None where there was none. Percentiles are exact, by nearest rank."""

    mean: float | None = None
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over attempts. Money is in pico-dollars; each count of some attempts or answers is followed by what was paid for them.

    `maybe` may have been billed without our knowing, at most for `maybe_pico`. `retried` failed and were billed. `batched` went
    through the batch API. `superseded` answers were replaced by a refresh. `judged` are a judge's answers, which count among no others.
    `saved_pico` is what the prompt cache saved.
    """

    attempts: int = 0
    cost_pico: int = 0
    succeeded: int = 0
    failed: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    maybe: int = 0
    maybe_pico: int = 0
    retried: int = 0
    retried_pico: int = 0
    batched: int = 0
    batched_pico: int = 0
    conversations: int = 0
    answers: int = 0
    answers_pico: int = 0
    accepted: int = 0
    accepted_pico: int = 0
    superseded: int = 0
    superseded_pico: int = 0
    judged: int = 0
    judged_pico: int = 0
    saved_pico: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __radd__(self, other: int) -> Totals:
        return self  # sum() starts from 0


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """What a group of attempts adds up to, and how long its calls took."""

    totals: Totals
    latency: Latency
