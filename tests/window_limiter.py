"""A limiter for tests that need no other process: exact sliding windows in memory, on the base that all limiters have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from convoforge.rate import Limits
from convoforge.rate.keys import Key
from convoforge.rate.limiter import RateLimiter


class WindowRateLimiter(RateLimiter[Key]):
    """At most the floor of `max_requests` × `pause_threshold` in any window, for each key.

    `fingerprints` name the keys, in the caller's order. `clock` and `sleep` are in seconds. See `RateLimiter` for the methods.
    """

    def __init__(
        self,
        limits: Limits,
        fingerprints: Sequence[str] = ("-",),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        keys = [Key(index, name, limits, limits.totals) for index, name in enumerate(fingerprints)]
        super().__init__(limits, keys, clock=clock)
        self._closed = None
        self._configured = [window.capacity for window in keys[0].windows]
        self._sleep = sleep
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    def close(self, reason: str) -> None:
        super().close(reason)
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None

    def _serve(self) -> None:
        now = self._clock()
        while self._line:
            wait, key = self._best(next(iter(self._line.values())), now)
            if wait > 0 and self.limits.queue:
                self._serve_in(wait, now + wait)
                return
            if wait > 0:
                self._fail_head_for_now(wait)
                continue
            future, need = self._line.popitem(last=False)
            if not future.done():
                future.set_result(key.take(need, now))

    def _serve_in(self, seconds: float, at: float) -> None:
        if self._alarm:
            if self._alarm_at <= at:
                return
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.create_task(self._serve_after(seconds))

    async def _serve_after(self, seconds: float) -> None:
        await self._sleep(seconds)
        self._alarm = None
        self._serve()

    def _remaining(self, now: float) -> int:
        return sum(max(0, int(window.total - window.used(now))) for window in (key.windows[0] for key in self._alive))

    def _grows_in(self, now: float) -> float | None:
        ends = [max(_next_expiry(key, now), key.held_until - now) for key in self._alive]
        return min((seconds for seconds in ends if seconds > 0), default=None)

    def _largest(self) -> Sequence[float]:
        return self._configured


def _next_expiry(key: Key, now: float) -> float:
    """Seconds until the oldest request no longer counts; 0 if none does."""
    window = key.windows[0]
    return window._entries[0].expires - now if window.used(now) else 0.0
