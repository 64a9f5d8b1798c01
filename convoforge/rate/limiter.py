"""What a rate limiter is, whoever keeps the count: the values that pass through it and the calls it answers.

Every request to the API passes `acquire` first. What it admits keeps the promise of `Limits`: at most `max_requests` in any window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

from convoforge.errors import ConfigError, span
from convoforge.models import Usage

SEND_WITHIN_SECONDS = 0.25
"""A request is sent within this time of being let through, so that counts kept here hold at the server, too."""

Kind = Literal["requests", "input-tokens", "output-tokens"]
KINDS: tuple[Kind, ...] = ("requests", "input-tokens", "output-tokens")
"""What is counted, in the words of the API's own rate headers (``anthropic-ratelimit-requests-limit`` …)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one API key may do in any window of `window_seconds`.

    `pause_threshold` (between 0 and 1) is the share of a limit that may be used at once. `queue` off means: never wait, raise
    `RateLimitError`. `input_tokens` and `output_tokens` are per window too; None sets no limit. A request that would wait longer than
    `max_wait_seconds`, or has, gets `RateLimitError` as well. Raises ConfigError.
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
        """What a window may hold of each of `KINDS`."""
        return (self.max_requests, self.input_tokens, self.output_tokens)

    def bucket(self, kind: Kind) -> tuple[float, float]:
        """The token bucket, as size and refill a second, that keeps the promise for a kind that is limited.

        A bucket of B that refills with R a second lets through at most B + R·t in any t seconds. The share that `pause_threshold`
        leaves free is B, the rest spread over the window is R. What was let through may be on its way for `SEND_WITHIN_SECONDS`,
        so that B + R · (window + that) must not pass the promise either: it is taken from B, and from R where B would be less than one
        request. Tokens are counted when they have been used, which is later than that anyway.
        """
        total = self.totals[KINDS.index(kind)]
        assert total is not None
        size = total * (1 - self.pause_threshold)
        rate = (total - size) / self.window_seconds
        if kind == "requests":
            size -= rate * SEND_WITHIN_SECONDS
            if size < 1:
                # a total of one request leaves nothing to refill with; one a window keeps the promise, too: a window is half-open
                size, rate = 1, (total - 1 or 1) / (self.window_seconds + SEND_WITHIN_SECONDS)
        return size, rate


@dataclass(frozen=True, slots=True)
class Need:
    """What one request is expected to use, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def amounts(self) -> tuple[int, int, int]:
        """What it takes of each of `KINDS`."""
        return (1, self.input_tokens, self.output_tokens)


@dataclass(slots=True)
class Entry:
    """What a request took of one kind, and when that is forgotten. The only value here that changes: what was used is learnt later."""

    expires: float
    amount: float


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request, now, with the key at place `key` of the caller's list. Settle it once, when the call has ended.

    A request that cannot be sent before `until` (seconds on the limiter's clock) settles it as not used and asks again. `permit` is
    where it is counted, for the limiter that gave it.
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

    `used`: requests admitted here in the last window. `remaining`: how many more its count allows. `reset_at`: when `remaining`
    next grows, None if nothing is used. `queue_length`: requests waiting. `is_paused`: a new request would have to wait for room.
    `held_seconds`: how long the API asked to be left alone, from now on. `allowed`: requests that a window may hold, as the limits
    stand now: an operator may have edited them.
    """

    used: int
    remaining: int
    reset_at: datetime | None
    queue_length: int
    is_paused: bool
    held_seconds: float = 0.0
    allowed: int = 0


def describe_rate(used: int, allowed: int, window_seconds: float) -> str:
    """The rate of the last window for people: ``45 of 50 requests in the last minute``. No window holds more than is allowed: where a count
    says so, an edit has just lowered the limit, or times were taken on two clocks."""
    named: Mapping[float, str] = {1: "second", 60: "minute", 3600: "hour"}
    window = named.get(window_seconds) or span(window_seconds)
    return f"{min(used, allowed):,} of {allowed:,} requests in the last {window}"


class RateLimiter(Protocol):
    """The one door to the API. Belongs to one event loop; open between `async with` and its end.

    `waiting` says in a few words what requests wait for now, and is empty when none does: what a progress display shows.
    """

    async def acquire(self, need: Need) -> Permit:
        """Wait for a permit to send one request, first come first served.

        Raises LimiterClosed once the limiter is closed (also while waiting), RateLimitError instead of waiting where `queue` is off,
        and ConfigError for a request that is larger than a limit and so could wait for ever. Cancelling gives everything back.
        """
        ...

    def settle(self, permit: Permit, usage: Usage | None) -> None:
        """Tell what the call used. None: it failed without use, its tokens are given back. The request itself stays counted."""
        ...

    def learn(self, permit: Permit, headers: Mapping[str, str]) -> None:
        """Apply the API's rate headers (lower-case names): a limit below ours replaces it in this process, none above ever does."""
        ...

    def pause(self, seconds: float, permit: Permit) -> None:
        """Nothing more with this permit's key for so long, for everyone who shares its count: what a 429's Retry-After asks for."""
        ...

    def drop(self, permit: Permit) -> None:
        """Never use this permit's key again: the API does not know it. Without a key left the limiter closes."""
        ...

    def turn_away(self, why: Callable[[], Exception]) -> None:
        """Let nobody wait who waits now: each gets the error that `why` makes. Who comes later is admitted as ever."""
        ...

    def close(self, reason: str) -> None:
        """Admit nothing from now on: whoever waits or comes gets LimiterClosed(reason). The first reason stays."""
        ...

    def status(self) -> LimiterStatus:
        """Where the limiter stands; reads nothing from elsewhere."""
        ...

    @property
    def waiting(self) -> str: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
