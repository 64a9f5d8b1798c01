"""Time for tests: nobody waits."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable
from itertools import count


class VirtualTime:
    """A clock that stands still until everybody sleeps, and then jumps to the first who wakes."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def run(self, *stories: Awaitable[object]) -> None:
        tasks = [asyncio.ensure_future(story) for story in stories]
        while not all(task.done() for task in tasks):
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleepers:
                at, _, woken = heapq.heappop(self._sleepers)
                if not woken.done():
                    self.now = at
                    woken.set_result(None)
        await asyncio.gather(*tasks)
