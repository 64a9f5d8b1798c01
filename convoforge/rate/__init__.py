"""The values of the rate limiter that every request to the API passes; `limiter` beside this file is the limiter itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from convoforge.errors import ConfigError, span

SEND_WITHIN_SECONDS = 0.25
"""Maximum seconds between a permit and the sending of its request, so that counts kept here also hold at the server."""

Kind = Literal["requests", "input-tokens", "output-tokens"]
KINDS: tuple[Kind, ...] = ("requests", "input-tokens", "output-tokens")
"""The kinds of limits, named as in the API's rate-limit headers (``anthropic-ratelimit-requests-limit`` …)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one API key in any window of `window_seconds`.

    `pause_threshold` (between 0 and 1) is the share of a limit that may be used at once. Without `queue`, a request never waits,
    but raises `RateLimitError`. `input_tokens` and `output_tokens` are per window too; None sets no limit. A request that would
    wait, or has waited, longer than `max_wait_seconds` raises `RateLimitError` as well. Raises ConfigError for invalid values.
    """

    max_requests: int = 50
    window_seconds: float = 60.0
    pause_threshold: float = 0.9
    queue: bool = True
    input_tokens: int | None = None
    output_tokens: int | None = None
    max_wait_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_requests", "window_seconds", "input_tokens", "output_tokens"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ConfigError(f"limits.{name} is {value}; it must be more than 0")
        if not 0 < self.pause_threshold < 1:
            raise ConfigError(f"limits.pause_threshold is {self.pause_threshold}; it must lie between 0 and 1, as 0.9 does")

    @property
    def totals(self) -> tuple[int, int | None, int | None]:
        """Maximum amount of each of `KINDS` in a window."""
        return (self.max_requests, self.input_tokens, self.output_tokens)

    def bucket(self, kind: Kind) -> tuple[float, float]:
        """The token bucket (size, and refill per second) that keeps within the limit of a kind that has one.

        A bucket of size B that refills with R per second admits at most B + R·t in any t seconds. B is the share that
        `pause_threshold` leaves free; R is the rest, spread over the window. A permitted request may take up to
        `SEND_WITHIN_SECONDS` to be sent, so B + R · (window + `SEND_WITHIN_SECONDS`) must not exceed the limit either: the
        difference is taken from B, or from R if B would be less than one request. Tokens are counted after use, which is later
        than that anyway.
        """
        total = self.totals[KINDS.index(kind)]
        assert total is not None
        size = total * (1 - self.pause_threshold)
        rate = (total - size) / self.window_seconds
        if kind == "requests":
            size -= rate * SEND_WITHIN_SECONDS
            if size < 1:
                # a total of one request would leave no refill; one per window stays within the limit, as a window is half-open
                size, rate = 1, (total - 1 or 1) / (self.window_seconds + SEND_WITHIN_SECONDS)
        return size, rate


@dataclass(frozen=True, slots=True)
class Need:
    """The tokens that one request is expected to use."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def amounts(self) -> tuple[int, int, int]:
        """The amount of each of `KINDS`."""
        return (1, self.input_tokens, self.output_tokens)


@dataclass(slots=True)
class Entry:
    """The amount of one kind that a request took, and when it expires. Mutable, as the amount used is only known later."""

    expires: float
    amount: float


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to send one request now, with the key at index `key` of the caller's list. Settle it once, when the call has
    ended.

    If the request cannot be sent before `until` (seconds on the limiter's clock), settle it as unused and acquire another.
    `permit` is the id under which the limiter counts it.
    """

    key: int
    fingerprint: str
    need: Need
    until: float = math.inf
    permit: int = 0
    entries: tuple[Entry, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LimiterStatus:
    """The limiter at one moment, over all its keys.

    `used`: requests admitted here in the last window. `remaining`: how many more are allowed. `reset_at`: when `remaining` next
    grows, None if nothing is used. `queue_length`: requests waiting. `is_paused`: a new request would have to wait.
    `allowed`: maximum requests in a window, by the current limits: an operator may have edited them.
    """

    used: int
    remaining: int
    reset_at: datetime | None
    queue_length: int
    is_paused: bool
    allowed: int = 0


def fingerprint(key: str) -> str:
    """Six hex digits that identify a key in names and logs without revealing it."""
    return hashlib.sha256(key.encode()).hexdigest()[:6]


def describe_rate(used: int, allowed: int, window_seconds: float) -> str:
    """Describe the use of the last window: ``45 of 50 requests in the last minute``. `used` is shown as at most `allowed`: a
    higher count means that the limit was just lowered, or that times come from two clocks."""
    named: Mapping[float, str] = {1: "second", 60: "minute", 3600: "hour"}
    window = named.get(window_seconds) or span(window_seconds)
    return f"{min(used, allowed):,} of {allowed:,} requests in the last {window}"
