"""The rate limiter, whatever keeps the count: queue, keys, leasing, closing. Subclasses keep the count.

A request calls `acquire` first, which keeps within `Limits`: at most `max_requests` in any window.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from convoforge.background import end_task
from convoforge.errors import ConfigError, LimiterClosed, RateLimitError
from convoforge.models import Usage
from convoforge.rate import KINDS, LimiterStatus, Limits, Need, Permit
from convoforge.rate.keys import Key

K_co = TypeVar("K_co", bound=Key, covariant=True)


class RateLimiter(ABC, Generic[K_co]):
    """One queue for all keys: its head takes the key that has room first; among several, the one with most room.

    Belongs to one event loop; open inside `async with`: a task of its own, the leaser, then asks whoever keeps the count.
    """

    def __init__(self, limits: Limits, keys: Sequence[K_co], *, clock: Callable[[], float] = time.monotonic) -> None:
        if not keys:
            raise ConfigError("a limiter needs at least one API key")
        self.limits = limits
        self._keys = tuple(keys)
        self._alive = list(keys)
        self._clock = clock
        # in order of arrival; removing a cancelled request is O(1)
        self._line: OrderedDict[asyncio.Future[Permit], Need] = OrderedDict()
        self._closed: str | None = "the rate limiter is not open: enter it with `async with`"
        self._leaser: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def _serve(self) -> None:
        """Admit waiting requests that fit. Called when one starts to wait, and when the head might fit sooner."""
        self._woken.set()

    async def acquire(self, need: Need) -> Permit:
        """Wait for a permit to send one request, first come first served.

        Raises LimiterClosed once the limiter is closed (also while waiting), RateLimitError instead of waiting if `queue` is off,
        and ConfigError for a request larger than a limit, which would wait forever. Cancelling takes nothing.
        """
        if self._closed is not None:
            raise LimiterClosed(self._closed)
        self._refuse_larger(need)
        self._refuse_longer(need)
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._line[future] = need
        if len(self._line) == 1:
            self._serve()
        longest = self.limits.max_wait_seconds
        alarm = None if longest is None or future.done() else future.get_loop().call_later(longest, self._tire, future)
        try:
            return await future
        except asyncio.CancelledError:
            if self._line.pop(future, None) is None and not future.cancelled() and future.exception() is None:
                self._correct(future.result(), (0, 0, 0))
            elif self._line:
                self._serve()
            raise
        finally:
            if alarm is not None:
                alarm.cancel()

    def settle(self, permit: Permit, usage: Usage | None) -> None:
        """Record the call's usage. None: it failed, and its tokens are returned. The request itself stays counted."""
        usage = usage or Usage()
        # tokens read from the cache do not count against the API's input limit; tokens written to it do
        self._correct(permit, (1, usage.input_tokens + usage.cache_write_tokens, usage.output_tokens))

    def learn(self, permit: Permit, headers: Mapping[str, str]) -> None:
        """Apply the API's rate-limit headers (lower-case names): only a lower limit replaces ours, in this process."""
        self._keys[permit.key].learn(permit.need, headers, self._clock())

    def pause(self, seconds: float, permit: Permit) -> None:
        """Pause this permit's key for `seconds`, for all processes that share its count: what a 429's Retry-After asks for."""
        self._keys[permit.key].hold(self._clock() + seconds)
        longest = self.limits.max_wait_seconds
        if longest is not None and (held := self._held()) > longest:
            self.turn_away(lambda: _too_long(held))

    def drop(self, permit: Permit) -> None:
        """Never use this permit's key again: the API refused it. If no key is left, the limiter closes."""
        key = self._keys[permit.key]
        if key in self._alive:
            self._alive.remove(key)
        if not self._alive:
            self.close(f"no API key is left: the API refused the last one, {permit.fingerprint}")

    def turn_away(self, why: Callable[[], Exception]) -> None:
        """Fail all requests that wait now, each with an error from `why`. Later requests are admitted as usual."""
        while self._line:
            self._fail_head(why())

    def close(self, reason: str) -> None:
        """Admit no requests from now on: waiting and new ones get LimiterClosed(reason). The first reason is kept."""
        if self._closed is None:
            self._closed = reason
        closed = self._closed
        self.turn_away(lambda: LimiterClosed(closed))

    def status(self) -> LimiterStatus:
        """Current state of the limiter, from memory only."""
        now = self._clock()
        grows = self._grows_in(now)
        return LimiterStatus(
            used=self._used(now),
            remaining=self._remaining(now),
            reset_at=None if grows is None else datetime.now(UTC) + timedelta(seconds=grows),
            queue_length=len(self._line),
            is_paused=self._closed is not None or self._best(Need(), now)[0] > 0,
            allowed=self._allowed(),
        )

    @property
    def waiting(self) -> str:
        """What requests wait for now, for a progress display; empty if none waits."""
        if not self._line:
            return ""
        held = self._held()
        return f"waiting {held:.0f} s, as the API asked" if held > 0 else "waiting for shared rate"

    def _open(self, lease: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Admit requests from now on, as `lease` does; returns its task."""
        self._closed = None
        self._leaser = asyncio.create_task(lease)
        return self._leaser

    async def _rest(self, seconds: float | None) -> None:
        """Let the leaser wait so long, or until somebody has to be served."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close("the limiter has been left")
        if self._leaser:
            with suppress(Exception):  # what has failed has closed the limiter, and said why to all who waited
                await end_task(self._leaser)

    def _used(self, now: float) -> int:
        return sum(int(key.windows[0].used(now)) for key in self._alive)

    def _allowed(self) -> int:
        """Maximum number of requests in a window, over all keys."""
        return sum(int(min(key.windows[0].total, self.limits.max_requests)) for key in self._alive)

    @abstractmethod
    def _remaining(self, now: float) -> int: ...

    @abstractmethod
    def _grows_in(self, now: float) -> float | None:
        """Seconds until `remaining` next grows."""

    @abstractmethod
    def _largest(self) -> Sequence[float]:
        """Maximum amount of each of `KINDS` that one request may need."""

    def _refuse_larger(self, need: Need) -> None:
        for kind, amount, largest in zip(KINDS, need.amounts, self._largest(), strict=True):
            if amount > largest:
                raise ConfigError(
                    f"a request needs {amount} {kind} and the limit admits {largest:.0f} at once: it would wait for ever."
                    f" Raise limits.{kind.replace('-', '_')} or ask for less"
                )

    def _refuse_longer(self, need: Need) -> None:
        """Refuse at once a request that would wait too long: until a key has room, and for the requests ahead of it."""
        longest = self.limits.max_wait_seconds
        if longest is None or not self.limits.queue:
            return
        per_window = max(1.0, self.limits.max_requests * self.limits.pause_threshold * len(self._alive))
        ahead = len(self._line) // per_window * self.limits.window_seconds
        if (wait := self._best(need, self._clock())[0] + ahead) > longest:
            raise _too_long(wait)

    def _tire(self, future: asyncio.Future[Permit]) -> None:
        """Fail a request that has waited for `max_wait_seconds`."""
        need = self._line.pop(future, None)
        if need is None or future.done():
            return
        future.set_exception(_too_long(max(1.0, self._best(need, self._clock())[0])))
        if self._line:
            self._serve()

    def _held(self) -> float:
        """Seconds until the API's pause ends for the first key; 0 if any key is not paused."""
        return max(0.0, min((key.held_until for key in self._alive), default=0.0) - self._clock())

    def _best(self, need: Need, now: float) -> tuple[float, K_co]:
        """Seconds until the best key has room, and that key."""
        if len(self._alive) == 1:
            return self._alive[0].wait(need, now), self._alive[0]
        wait, _, index = min((key.wait(need, now), -key.room(now), index) for index, key in enumerate(self._alive))
        return wait, self._alive[index]

    def _correct(self, permit: Permit, amounts: tuple[int, int, int]) -> None:
        self._keys[permit.key].correct(permit, amounts, self._clock())
        if self._line:
            self._serve()

    def _fail_head(self, error: Exception) -> None:
        future, _ = self._line.popitem(last=False)
        if not future.done():
            future.set_exception(error)

    def _fail_head_for_now(self, wait: float) -> None:
        message = f"the rate limit has no room for another {wait:.1f} s, and limits.queue is off"
        self._fail_head(RateLimitError(message, retry_after=wait))


def _too_long(wait: float) -> RateLimitError:
    return RateLimitError(
        f"the rate limit has no room for another {wait:.0f} s, and a request may not wait so long", retry_after=wait
    )
