"""Prefect's global concurrency limits as people count: requests a minute. Knows the server's API, and needs nothing of Prefect's package.

A limit of L slots that decay with D a second lets L + D × 60 pass in a minute. A request is 100 slots, and may be on its way for
`SEND_WITHIN_SECONDS`, which is taken from L.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from convoforge.errors import ConfigError
from convoforge.orchestration.server_api import ask
from convoforge.rate import KINDS, SEND_WITHIN_SECONDS, Kind, Limits

SLOTS: dict[Kind, int] = {"requests": 100, "input-tokens": 1, "output-tokens": 1}
"""What one of a kind takes from its Prefect limit."""

_PAGE = 200  # Prefect's largest
_PER_MINUTE = {"s": 60.0, "sec": 60.0, "second": 60.0, "min": 1.0, "minute": 1.0, "h": 1 / 60, "hour": 1 / 60}


def bucket_numbers(limits: Limits, kind: Kind) -> tuple[int, float]:
    """The Prefect limit (slots) and its decay (slots per second) that keep the promise of `limits`."""
    size, rate = limits.bucket(kind)
    return max(1, int(size * SLOTS[kind] + 1e-6)), rate * SLOTS[kind]


def minute_numbers(count: int, kind: Kind) -> tuple[int, float]:
    """The Prefect limit and its decay that let at most `count` of a kind pass in any minute, a tenth of them in a burst."""
    total = {"requests": "max_requests", "input-tokens": "input_tokens", "output-tokens": "output_tokens"}[kind]
    return bucket_numbers(Limits(**{total: count}), kind)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """A limit as Prefect has it: for one model, endpoint, API key (its fingerprint) and kind. `in_use` slots are taken now."""

    id: str
    model: str
    endpoint: str
    key: str
    kind: Kind
    limit: int
    decay: float
    in_use: float
    active: bool

    @property
    def per_minute(self) -> float:
        """The most that passes in any minute."""
        seconds = 60 + (SEND_WITHIN_SECONDS if self.kind == "requests" else 0)
        return (self.limit + self.decay * seconds) / SLOTS[self.kind]

    @property
    def burst(self) -> float:
        """The most that passes at once."""
        return self.limit / SLOTS[self.kind]


def read_rate(text: str) -> int:
    """A rate as people write it (`80/min`, `2/s`, `5000/h`, or `80`, which is a minute's), as a whole number a minute.

    Raises `ConfigError` for anything else, and for less than one a minute.
    """
    found = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*(?:/\s*([a-z]+))?\s*", text.lower())
    scale = _PER_MINUTE.get(found[2] or "min") if found else None
    if found is None or scale is None:
        raise ConfigError(f"{text!r} is no rate: write 80/min, 2/s or 5000/h")
    rate = round(float(found[1].replace(",", "").replace("_", "")) * scale)
    if rate < 1:
        raise ConfigError(f"{text!r} is less than one a minute: to send nothing, pause or cancel the runs")
    return rate


def read_limits(url: str, auth: str | None) -> list[SharedLimit]:
    """All limits of ours that a server has, by name. Raises `OSError` where it does not answer."""
    found: list[dict[str, Any]] = []
    while len(page := ask(url, auth, "/v2/concurrency_limits/filter", {"limit": _PAGE, "offset": len(found)})) == _PAGE:
        found += page
    return [
        SharedLimit(
            id=one["id"],
            model=parts[1],
            endpoint=parts[2],
            key=parts[3],
            kind=parts[4],
            limit=one["limit"],
            decay=one["slot_decay_per_second"],
            in_use=one["active_slots"],
            active=one["active"],
        )
        for one in sorted([*found, *page], key=lambda one: one["name"])
        if len(parts := one["name"].split(":")) == 5 and parts[0] == "convoforge" and parts[4] in KINDS
    ]


def change_limit(url: str, auth: str | None, limit: SharedLimit, per_minute: int) -> SharedLimit:
    """Let a limit pass `per_minute` of its kind; returns it as it is then. Runs that go on follow within 5 seconds."""
    slots, decay = minute_numbers(per_minute, limit.kind)
    ask(url, auth, f"/v2/concurrency_limits/{limit.id}", {"limit": slots, "slot_decay_per_second": decay}, "PATCH")
    return replace(limit, limit=slots, decay=decay)
