"""When a call is tried again. It looks at the type of an error, never at its status.

Transient faults: `max_attempts` times, after ``min(max_delay, base_delay · 2ⁿ) + U(0, jitter)``. A full or overloaded API is not the
request's fault: never before Retry-After, as often as `patience_seconds` allow. Everything else is final at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from convoforge.errors import OverloadError, TransientError
from convoforge.spec import Retry


@dataclass(slots=True)
class Policy:
    """The rule of one spec. Time, sleep and randomness are passed in. `attempts(…)` makes the loop for one request."""

    rule: Retry
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic

    def attempts(self, may_go_on: Callable[[], bool] = lambda: True) -> AsyncRetrying:
        """The loop for one request: ``async for attempt in policy.attempts(): with attempt: …``. Once `may_go_on` says no, the
        error at hand is final."""
        started = self.clock()
        transient = 0

        def stop(state: RetryCallState) -> bool:
            nonlocal transient
            error = state.outcome and state.outcome.exception()
            if not may_go_on():
                return True
            if isinstance(error, OverloadError):
                return self.clock() - started + (error.retry_after or 0) > self.rule.patience_seconds
            transient += 1
            return transient >= self.rule.max_attempts

        def wait(state: RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            backoff: float = min(
                self.rule.max_delay_seconds, self.rule.base_delay_seconds * 2 ** min(state.attempt_number - 1, 30)
            )
            jitter = self.random() * self.rule.jitter_seconds
            asked = error.retry_after or 0.0 if isinstance(error, OverloadError) else 0.0
            return max(backoff, asked) + jitter

        return AsyncRetrying(
            retry=retry_if_exception_type((TransientError, OverloadError)), stop=stop, wait=wait, sleep=self.sleep, reraise=True
        )
