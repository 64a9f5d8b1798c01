"""What an answer was billed by beside its tokens: where it was inferred, how fast, and from which capacity. The answer itself says so.

A workspace may be pinned to the United States, which costs 1.1 × on every kind of token, without a word in any request: so the worst
case that a budget reserves covers it. Fast answers and the priority tier are never asked for here. Where an answer names terms that no
price is known of, it counts at its list price, and as maybe billed up to its worst case: that is told, and never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from convoforge.models import Terms
from convoforge.pricing import Price, fast_factor

US = Decimal("1.1")
"""What inference in the United States costs, as a multiple of all prices."""

_PLAIN = {
    "inference_geo": ("global", "not_available"),
    "service_tier": ("standard", "batch"),
    "speed": ("standard",),
}


@dataclass(frozen=True, slots=True)
class Billed:
    """The price that terms come to, and which of them no price is known of."""

    price: Price
    unknown: tuple[str, ...] = ()


def billed_under(price: Price, model: str, terms: Terms) -> Billed:
    """What `price` of a model becomes under the terms of an answer."""
    factor, unknown = Decimal(1), []
    for name, value in list_special(terms):
        known = _factor(model, name, value)
        factor *= known or 1
        unknown += [] if known else [f"{name} {value}"]
    return Billed(price if factor == 1 else _raised(price, factor), tuple(unknown))


def worst_price(price: Price) -> Price:
    """The most that a price can become by terms that nobody has asked for."""
    return _raised(price, US)


@lru_cache(maxsize=64)
def _raised(price: Price, factor: Decimal) -> Price:
    return price.raised(factor)


def list_special(terms: Terms) -> Iterator[tuple[str, str]]:
    """The terms that are not the plain ones, by name."""
    for name, plain in _PLAIN.items():
        value = getattr(terms, name)
        if value is not None and value not in plain:
            yield name, value


def describe_terms(model: str, terms: Terms) -> str | None:
    """What terms an answer was billed under, for a person; None for the plain ones."""
    parts = []
    for name, value in list_special(terms):
        factor = _factor(model, name, value)
        cost = (
            f"{factor} × on every token"
            if factor
            else "no price of it is known: list price, and maybe billed up to the worst case"
        )
        parts.append(f"{name} '{value}' ({cost})")
    return " and ".join(parts) or None


def _factor(model: str, name: str, value: str) -> Decimal | None:
    if name == "inference_geo" and value == "us":
        return US
    if name == "speed" and value == "fast":
        return fast_factor(model)
    return None
