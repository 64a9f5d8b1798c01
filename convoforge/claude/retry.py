"""When a call is retried. The type of an error decides, never its status.

Transient errors: up to `max_attempts` attempts, after ``min(max_delay, base_delay · 2ⁿ) + U(0, jitter)``. An overloaded API is
not the request's fault: it is retried until `patience_seconds` of waiting are used up. Never before Retry-After. All other errors
are final at once, and so is an error that the server wants no retry for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from convoforge.errors import OverloadError, TransientError
from convoforge.planning.spec import Retry

T = TypeVar("T")

_PASSING = (TransientError, OverloadError)

_NAP = 1.0
"""Seconds between two checks whether the run is stopping: a wait can take minutes, and whoever stops the run waits for it."""


@dataclass(slots=True)
class Policy:
    """The retry policy of one spec. Sleep and randomness are passed in."""

    rule: Retry
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self, call: Callable[[], Awaitable[T]], may_go_on: Callable[[], bool] = lambda: True) -> T:
        """Call `call` until it succeeds or the rule allows no more attempts; returns its result, or raises its last error. Once
        `may_go_on` returns False, an error is final and a wait ends within a second; the next call finds the limiter closed."""
        rule, attempt, transient = self.rule, 0, 0
        waited = 0.0  # seconds, for an overloaded API only; time in the limiter's queue does not count
        while True:
            try:
                return await call()
            except _PASSING as error:
                asked = error.retry_after or 0.0
                backoff = min(rule.max_delay_seconds, rule.base_delay_seconds * 2 ** min(attempt, 30))
                seconds = max(backoff, asked) + self.random() * rule.jitter_seconds
                attempt += 1
                if isinstance(error, OverloadError):
                    waited += seconds
                else:
                    transient += 1
                too_long = max(waited, asked) > rule.patience_seconds
                if error.final or too_long or transient >= rule.max_attempts or not may_go_on():
                    raise
            while seconds > 0 and may_go_on():
                await self.sleep(min(seconds, _NAP))
                seconds -= _NAP
