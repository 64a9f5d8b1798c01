"""What draws cost, in tokens and US dollars: low, expected and high. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from convoforge.models import Usage
from convoforge.pricing import Price, cost_pico, dollars, usd


@dataclass(frozen=True, slots=True)
class Range:
    """An amount in US dollars, as low as it may well be, as expected, and as high."""

    low: Decimal
    expected: Decimal
    high: Decimal

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __str__(self) -> str:
        return f"about {dollars(self.expected)} ({dollars(self.low)} to {dollars(self.high)})"


@dataclass(frozen=True, slots=True)
class DrawTokens:
    """What one draw of a template needs, in tokens, low, expected and high; `shared` tokens of the prompt may be read from the cache.

    `known` answers to this template are behind it; `measured`: these, or those to others of the spec. `hits` is the share of what may be
    read from the cache that surely is.
    """

    prompt: float
    shared: float
    output: tuple[float, float, float]
    seconds: float
    known: int
    measured: bool
    hits: float = 0.0


def sum_costs(
    draws: Mapping[str, DrawTokens], counts: Mapping[str, Sequence[float]], price: Price, *, batch: bool = False
) -> Range:
    """What so many draws of each template cost (`counts`: low, expected, high), one after another or in a message batch, which is worked
    on in any order, so that a cache helps by chance."""
    hits = ("1", "0.5" if batch else "1", "0")

    def add(at: int) -> Decimal:
        each = (_compute_cost(draws[name], count[at], at, price, Decimal(hits[at])) for name, count in counts.items())
        return sum(each, start=Decimal(0))

    return Range(*map(add, range(3)))


def _compute_cost(draw: DrawTokens, count: float, at: int, price: Price, hits: Decimal) -> Decimal:
    """What `count` draws cost. The first one writes what the others read from the cache, so far as it `hits`, or is known to."""
    hits = max(hits, Decimal(f"{draw.hits:.6f}"))
    output = round(draw.output[at])
    plain = _times(cost_pico(Usage(round(draw.prompt), output), price), count)
    if draw.shared == 0 or count < 2:
        return plain
    own, shared = round(draw.prompt - draw.shared), round(draw.shared)
    write = cost_pico(Usage(own, output, cache_write_5m_tokens=shared), price)
    read = cost_pico(Usage(own, output, cache_read_tokens=shared), price)
    return hits * (usd(write) + _times(read, count - 1)) + (1 - hits) * plain


def _times(pico: int, count: float) -> Decimal:
    return usd(round(pico * count))
