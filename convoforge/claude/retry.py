"""When a call is tried again. It looks at the type of an error, never at its status.

Transient faults: `max_attempts` times, after ``min(max_delay, base_delay · 2ⁿ) + U(0, jitter)``. A full or overloaded API is not the
request's fault: as often as `patience_seconds` of waiting allow. Never before Retry-After. Everything else is final at once, as is
what the server wants no second attempt for.
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
"""Seconds between two looks at whether the run is stopping: a wait can be minutes, a person who stops a run waits for it."""


@dataclass(slots=True)
class Policy:
    """The rule of one spec. Sleep and randomness are passed in."""

    rule: Retry
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self, call: Callable[[], Awaitable[T]], may_go_on: Callable[[], bool] = lambda: True) -> T:
        """What `call` returns, made again for one request as often as the rule allows; raises its last error. Once `may_go_on` says
        no, the error at hand is final; a wait ends within a second, and the next call finds the limiter closed."""
        try:  # nearly always all there is to do; tenacity's loop is 45 objects that wait for the garbage collector
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
        waited = 0.0  # for an API that has no room; time in the limiter's queue is not patience used up

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
