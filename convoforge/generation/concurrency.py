"""How many calls are in flight at once, and how many more are made ready so that no place stays empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_WEIGHT = 1 / 32
"""Of the newest measurement in the running means."""

_MARGIN = 1.5
"""Factor by which more calls are prepared than the running means ask for: commits and leases come in groups, and so do prepared calls
(places stood empty a fifth of the time without it)."""

_AHEAD_SECONDS = 0.1
"""What is ready waits no longer than this for a place: leave to send is good for a quarter of a second (`SEND_WITHIN_SECONDS`), and then
has to be asked for again; or, where the run has been stopped meanwhile, an attempt was written down that is never sent."""


class InFlightLimiter:
    """At most `most` calls in flight. Making one ready (its lease, its intent on disk) takes a while: as many more as will end in
    that time, and half as many again, may be made ready, so that a call begins as another ends. `ahead` says how many: none where
    calls take seconds, unless hundreds are in flight.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._begun = asyncio.Semaphore(most)
        self._flying = asyncio.Semaphore(most)
        self.ahead = 0
        self.flying = 0
        self._ready_seconds, self._call_seconds = 0.0, 1.0

    async def begin(self) -> None:
        """Wait until another call may be made ready."""
        await self._begun.acquire()

    @asynccontextmanager
    async def flight(self, ready_since: float) -> AsyncIterator[None]:
        """Wait for a place in flight, and have it. `ready_since` is when making the call ready began."""
        self._ready_seconds += (self._clock() - ready_since - self._ready_seconds) * _WEIGHT
        try:
            async with self._flying:
                self.flying += 1
                since = self._clock()
                try:
                    yield
                finally:
                    self.flying -= 1
                    self._call_seconds += (self._clock() - since - self._call_seconds) * _WEIGHT
        finally:
            self.leave()  # before it is recorded: a commit holds up no other call

    def leave(self) -> None:
        """Nothing is made ready any more for this one."""
        seconds = min(_MARGIN * self._ready_seconds, _AHEAD_SECONDS)
        wanted = min(self._most // 2, int(self._most * seconds / max(self._call_seconds, 1e-3)))
        if self.ahead > wanted:
            self.ahead -= 1
            return
        self._begun.release()
        if self.ahead < wanted:
            self.ahead += 1
            self._begun.release()
