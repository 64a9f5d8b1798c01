"""Which model answered, and its price: a server may answer with another model than requested."""

from __future__ import annotations

import re
from functools import lru_cache

from convoforge.errors import ConfigError
from convoforge.pricing import Price, price_of

_DATE = re.compile(r"[-@](\d{4})-?(\d\d)-?(\d\d)(?!\d)")
_AROUND = re.compile(r"^(?:.*/)?(?:(?:[\w-]+\.)?anthropic\.)?|(?:-v\d+(?::\d+)?|@default)$")
"""Prefixes and suffixes that clouds and proxies add to a model's name: `anthropic/…`, `us.anthropic.…-v1:0`."""


def is_other_model(asked: str, answered: str) -> bool:
    """Whether an answer comes from another model than requested. An alias and its dated snapshot are the same model
    (`claude-sonnet-4-5`, `claude-sonnet-4-5-20250929`), two different dates are not; False if the answer names no model."""
    if not answered or answered == asked:
        return False
    (name, date), (other, another) = _plain(asked), _plain(answered)
    return name != other or (bool(date and another) and date != another)


@lru_cache(maxsize=64)
def price_answered(answered: str, *, batch: bool) -> Price | None:
    """The published price of a model that answered instead of the requested one; None if unknown."""
    for name in (answered, _AROUND.sub("", answered)):
        try:
            return price_of(name, batch=batch)
        except ConfigError:
            continue
    return None


def describe_other_model(asked: str, answered: str) -> str | None:
    """The message if another model has answered; else None."""
    if not is_other_model(asked, answered):
        return None
    return (
        f"another model answers than was asked for: '{answered}' instead of '{asked}'. "
        "Change `model` in the spec, or take its answers with `allow_other_model: true`"
    )


def _plain(model: str) -> tuple[tuple[str, ...], str]:
    """Split a model's name, without cloud prefixes and suffixes, into name and date. Words are sorted (`claude-3-5-sonnet` equals
    `claude-sonnet-3-5`); numbers keep their order."""
    bare = _AROUND.sub("", model.strip().lower())
    date = _DATE.search(bare)
    words = [word for word in re.split(r"[-.@]", _DATE.sub("", bare)) if word not in ("latest", "0", "")]
    name = (*sorted(word for word in words if not word.isdigit()), *(word for word in words if word.isdigit()))
    return name, "".join(date.groups()) if date else ""
