"""Usage → exact US dollars. Prices are those of the `genai_prices` package, offline, or given in a spec.

Inside, money is an integer of pico-dollars (10⁻¹² $): a batch cache write of Haiku 5.5 costs 62.5 nano-dollars a token, and sums
of integers do not drift. $1/MTok is 1,000,000 pico-dollars a token, so a price has at most six decimals.

Two traps of `genai_prices` end here: its `input_tokens` include what was cached (ours, like the API's, do not), and batch prices
that it does not list come back, without a word, as standard ones. Batch is half of everything, by Anthropic's price list, for every
model that has a batch price at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from convoforge.errors import ConfigError, nearest
from convoforge.models import Frozen, Usage

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

PICO = 10**12
MTOK = 10**6
_FINEST = Decimal("0.000001")  # dollars per million tokens: a pico-dollar a token
_RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


_AROUND = re.compile(r"^(?:[\w-]+\.)?anthropic\.|(?:-v\d+(?::\d+)?|@default)$")


def bare_model(model: str) -> str:
    """A model's name without what a cloud puts around it: `us.anthropic.claude-sonnet-4-5-20250929-v1:0`."""
    return _AROUND.sub("", model)


def pico(usd: Decimal) -> int:
    """US dollars as whole pico-dollars. Raises `ValueError` where that would need rounding."""
    return _whole(usd, PICO)


def usd(pico: int) -> Decimal:
    """Pico-dollars as US dollars, exact, without trailing zeros."""
    return Decimal(f"{Decimal(f'{pico}e-12'):f}".rstrip("0").rstrip("."))


_A_CENT, _SHOWN_AT_LEAST = Decimal("0.00995"), Decimal("0.00005")
"""From these amounts on, in US dollars, two and four digits after the point show more than nothing."""


def dollars(amount: Decimal | None) -> str:
    """An amount for people: whole cents ($0.37), four digits below a cent ($0.0042); never $0.00 for what is more than nothing."""
    if amount is None:
        return "-"
    if amount == 0 or abs(amount) >= _A_CENT:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if abs(amount) >= _SHOWN_AT_LEAST else "less than $0.0001"


def _whole(amount: Decimal, units: int) -> int:
    numerator, denominator = amount.as_integer_ratio()
    whole, rest = divmod(numerator * units, denominator)
    if rest:
        raise ValueError(f"{amount} is not a whole number of 1/{units:,}")
    return whole


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens of one model cost, in US dollars per million. `input` is for uncached tokens.

    `above` is (prompt tokens, price): a request whose prompt, cached tokens included, is longer than that costs the other price
    for everything. Raises `ValueError` for a rate finer than a pico-dollar a token.
    """

    input: Decimal
    output: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal
    above: tuple[int, Price] | None = None
    pico_per_token: tuple[int, ...] = field(init=False, repr=False, compare=False)  # a token, in the order of _RATES
    text: str = field(init=False, repr=False, compare=False)
    """Compact, to be stored with what it priced: `2/10/2.5/4/0.1`, with `>100000:` and the next price where there is one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pico_per_token", tuple(_whole(getattr(self, rate), MTOK) for rate in _RATES))
        rates = "/".join(f"{usd(rate * MTOK):f}" for rate in self.pico_per_token)
        object.__setattr__(self, "text", f"{rates}>{self.above[0]}:{self.above[1].text}" if self.above else rates)

    def times(self, share: Decimal) -> Price:
        """A share of every rate: what the batch API asks for. Raises `ValueError` where a rate becomes finer than a pico-dollar."""
        rates = {rate: getattr(self, rate) * share for rate in _RATES}
        return replace(self, **rates, above=self.above and (self.above[0], self.above[1].times(share)))

    def raised(self, factor: Decimal) -> Price:
        """A multiple of every rate, rounded up to a whole pico-dollar a token."""
        rates = {rate: (getattr(self, rate) * factor).quantize(_FINEST, rounding=ROUND_CEILING) for rate in _RATES}
        return replace(self, **rates, above=self.above and (self.above[0], self.above[1].raised(factor)))

    @classmethod
    def parse(cls, text: str) -> Price:
        """The price that was stored as `text`. Raises `ValueError` for anything else."""
        head, longer, tail = text.partition(">")
        start, _, rest = tail.partition(":")
        try:
            input, output, write_5m, write_1h, read = map(Decimal, head.split("/"))
            return cls(input, output, write_5m, write_1h, read, (int(start), cls.parse(rest)) if longer else None)
        except (ArithmeticError, ValueError):
            raise ValueError(f"'{text}' is not a price such as 2/10/2.5/4/0.1") from None


Rate = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]


class PriceOverride(Frozen):
    """Prices given in a spec, US dollars per million tokens, for a model whose price is not known or not the published one.

    What is left out follows from `input` by Anthropic's ratios: a cache write 1.25 × (5 minutes) or 2 × (1 hour), a read 0.1 ×.
    `batch` is the share of all of it that the batch API asks for, such as 0.5; without it there are no batches.
    """

    input: Rate
    output: Rate
    cache_write_5m: Rate | None = None
    cache_write_1h: Rate | None = None
    cache_read: Rate | None = None
    batch: Annotated[Decimal, Field(gt=0, le=1, decimal_places=3)] | None = None

    def price(self, above: tuple[int, Price] | None = None) -> Price:
        def rate(given: Decimal | None, ratio: str) -> Decimal:
            return self.input * Decimal(ratio) if given is None else given

        return Price(
            self.input,
            self.output,
            rate(self.cache_write_5m, "1.25"),
            rate(self.cache_write_1h, "2"),
            rate(self.cache_read, "0.1"),
            above,
        )

    @model_validator(mode="after")
    def _exact(self) -> Self:
        self.price().times(self.batch or Decimal(1))  # refused here, where the spec is read, not when the first answer is paid
        return self


_GIVE_PRICES = "Or give prices in the spec under `prices:` (input and output, US dollars per million tokens)."


def price_of(
    model: str,
    *,
    batch: bool = False,
    overrides: PriceOverride | None = None,
    at: datetime | None = None,
    advice: str = _GIVE_PRICES,
) -> Price:
    """What `model` costs at the time `at` (now, if not given), through the batch API or not.

    `overrides` replace what is published. Raises `ConfigError` for a model that neither has a published price nor overrides, with this
    `advice`, and where there is none through the batch API.
    """
    price = overrides.price() if overrides else _published(model, at, advice)
    if not batch:
        return price
    if (share := overrides.batch if overrides else _batch_share(model)) is None:
        raise ConfigError(
            f"no batch price is known for the model '{model}': build it without batches, or give one in the spec: "
            "`prices: {input: …, output: …, batch: 0.5}`"
        )
    return price.times(share)


def _batch_share(model: str) -> Decimal | None:
    """A half, for a model whose batch price is published."""
    return None if _variant(model, "processing", "batch") is None else Decimal("0.5")


@cache
def fast_factor(model: str) -> Decimal | None:
    """What a fast answer of a model costs as a multiple of a standard one; None where that is not published."""
    fast = _variant(model, "speed", "fast")
    if fast is None:
        return None
    standard = _published(model, None, _GIVE_PRICES)
    return max(fast[0] / standard.input, fast[1] / standard.output)


def _variant(model: str, name: str, value: str) -> tuple[Decimal, Decimal] | None:
    """The price that is published for a way to answer, input and output; None where there is none."""
    from genai_prices.data_snapshot import get_snapshot

    listed = (info for provider in get_snapshot().providers if provider.id == "anthropic" for info in provider.models)
    variants = (info.price_variants or () for info in listed if _name(info.id) == _name(model))
    for one in (one for some in variants for one in some):
        if one.when == {name: value}:
            return _plain_rate(one.prices.input_mtok), _plain_rate(one.prices.output_mtok)
    return None


def _plain_rate(rate: Decimal | TieredPrices | None) -> Decimal:
    return rate if isinstance(rate, Decimal) else rate.base if rate else Decimal(0)


def _published(model: str, at: datetime | None, advice: str) -> Price:
    import genai_prices  # 0.13 s: not on the path of commands that price nothing
    from genai_prices.data_snapshot import get_snapshot

    try:
        priced = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=0), bare_model(model), provider_id="anthropic", genai_request_timestamp=at
        )
        if _name(model) != _name(priced.model.id):  # it goes by how a name begins, so a misspelt one would have a price
            raise LookupError
        found = priced.model_price
    except LookupError:
        known = [info.id for provider in get_snapshot().providers if provider.id == "anthropic" for info in provider.models]
        raise ConfigError(f"no price is known for the model '{model}'{nearest(model, known)} {advice}") from None
    rates: Mapping[str, Decimal | TieredPrices | None] = {
        "input": found.input_mtok,
        "output": found.output_mtok,
        "cache_write_5m": found.cache_write_mtok,
        "cache_write_1h": found.cache_write_1h_mtok,
        "cache_read": found.cache_read_mtok,
    }
    starts = {tier.start for rate in rates.values() if rate and not isinstance(rate, Decimal) for tier in rate.tiers}
    above: tuple[int, Price] | None = None
    for start in sorted(starts, reverse=True):
        above = start, _at(rates, start + 1).price(above)
    return _at(rates, 0).price(above)


def _name(model: str) -> list[str]:
    """What a model is called without what only dates it: ``claude-sonnet-4-20250514`` is ``claude-sonnet-4-0``."""
    undated = re.sub(r"[-@]\d{4}-?\d\d-?\d\d(?!\d)", "", bare_model(model))
    return sorted(word for word in re.split(r"[-.@]", undated) if word not in ("latest", "0"))


def _at(rates: Mapping[str, Decimal | TieredPrices | None], prompt_tokens: int) -> PriceOverride:
    def rate(value: Decimal | TieredPrices | None) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        return next((tier.price for tier in reversed(value.tiers) if prompt_tokens > tier.start), value.base)

    return PriceOverride.model_validate({name: rate(value) for name, value in rates.items()})


def cost(usage: Usage, price: Price) -> Decimal:
    """What `usage` costs at `price`: exact US dollars."""
    return usd(cost_pico(usage, price))


def cache_saving(usage: Usage, price: Price) -> Decimal:
    """What the prompt cache has saved, in US dollars: all of the input at the plain rate, less what it cost. Negative where more was
    written than read. For a price with tiers, at its first."""
    flat = replace(price, above=None)
    prompt = Usage(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens, usage.output_tokens)
    return usd(cost_pico(prompt, flat) - cost_pico(usage, flat))


def cost_pico(usage: Usage, price: Price) -> int:
    """The same in pico-dollars, the ledger's unit."""
    read, write_5m, write_1h = usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    prompt = usage.input_tokens + read + write_5m + write_1h
    while price.above and prompt > price.above[0]:
        price = price.above[1]
    per_input, per_output, per_write_5m, per_write_1h, per_read = price.pico_per_token
    return (
        usage.input_tokens * per_input
        + usage.output_tokens * per_output
        + write_5m * per_write_5m
        + write_1h * per_write_1h
        + read * per_read
    )
