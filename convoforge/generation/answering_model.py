"""Which model has answered, and what its answer costs: a server may let another one answer than was asked for."""

from __future__ import annotations

import re
from functools import lru_cache

from convoforge.errors import ConfigError
from convoforge.pricing import Price, price_of

_DATE = re.compile(r"[-@](\d{4})-?(\d\d)-?(\d\d)(?!\d)")
_AROUND = re.compile(r"^(?:.*/)?(?:(?:[\w-]+\.)?anthropic\.)?|(?:-v\d+(?::\d+)?|@default)$")
"""What clouds and proxies put around a model's name: `anthropic/…`, `us.anthropic.…-v1:0`."""


def is_other_model(asked: str, answered: str) -> bool:
    """Whether an answer is of another model than was asked for. An alias and a dated snapshot of it are one model
    (`claude-sonnet-4-5`, `claude-sonnet-4-5-20250929`), two different dates are two; no name at all says nothing."""
    if not answered or answered == asked:
        return False
    (name, date), (other, another) = _plain(asked), _plain(answered)
    return name != other or (bool(date and another) and date != another)


@lru_cache(maxsize=64)
def price_answered(answered: str, *, batch: bool) -> Price | None:
    """The published price of a model that answered without having been asked; None where none is known."""
    for name in (answered, _AROUND.sub("", answered)):
        try:
            return price_of(name, batch=batch)
        except ConfigError:
            continue
    return None


def describe_other_model(asked: str, answered: str) -> str | None:
    """What to say where another model has answered."""
    if not is_other_model(asked, answered):
        return None
    return (
        f"another model answers than was asked for: '{answered}' instead of '{asked}'. "
        "Change `model` in the spec, or take its answers with `allow_other_model: true`"
    )


def _plain(model: str) -> tuple[tuple[str, ...], str]:
    """A model's name without what a cloud puts around it and without its date: its words in any order (`claude-3-5-sonnet` has been
    `claude-sonnet-3-5`), its numbers in theirs; and the date."""
    bare = _AROUND.sub("", model.strip().lower())
    date = _DATE.search(bare)
    words = [word for word in re.split(r"[-.@]", _DATE.sub("", bare)) if word not in ("latest", "0", "")]
    name = (*sorted(word for word in words if not word.isdigit()), *(word for word in words if word.isdigit()))
    return name, "".join(date.groups()) if date else ""
