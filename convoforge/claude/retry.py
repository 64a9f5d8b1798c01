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

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from convoforge.errors import ClaudeAPIError, OverloadError, TransientError
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
        try:  # nearly always enough; tenacity's loop creates 45 objects for the garbage collector
            return await call()
        except _PASSING as error:
            failed: ClaudeAPIError | None = error

        async def again() -> T:
            nonlocal failed
            if failed is None:
                return await call()
            error, failed = failed, None
            raise error

        return await self._loop(may_go_on)(again)

    def _loop(self, may_go_on: Callable[[], bool]) -> AsyncRetrying:
        transient = 0
        waited = 0.0  # seconds, for an overloaded API only; time in the limiter's queue does not count

        def wait(state: RetryCallState) -> float:
            rule, error = self.rule, _error(state)
            backoff: float = min(rule.max_delay_seconds, rule.base_delay_seconds * 2 ** min(state.attempt_number - 1, 30))
            return max(backoff, error.retry_after or 0.0) + self.random() * rule.jitter_seconds

        def stop(state: RetryCallState) -> bool:
            nonlocal transient, waited
            rule, error = self.rule, _error(state)
            if isinstance(error, OverloadError):
                waited += state.upcoming_sleep
            else:
                transient += 1
            too_long = max(waited, error.retry_after or 0.0) > rule.patience_seconds
            return error.final or too_long or transient >= rule.max_attempts or not may_go_on()

        async def sleep(seconds: float) -> None:
            while seconds > 0 and may_go_on():
                await self.sleep(min(seconds, _NAP))
                seconds -= _NAP

        return AsyncRetrying(retry=retry_if_exception_type(_PASSING), stop=stop, wait=wait, sleep=sleep, reraise=True)


def _error(state: RetryCallState) -> ClaudeAPIError:
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, ClaudeAPIError)
    return error
