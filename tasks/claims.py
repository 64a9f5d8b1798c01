"""What a run has claimed and not ended: enough that no place in flight stays empty, no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


class Claims:
    """The requests under way of one run in this process. More are claimed by turns, while no more than `enough` are under way."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._under_way = 0
        self._turns = asyncio.Lock()
        self._few = asyncio.Event()
        self._few.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and until few are under way."""
        async with self._turns:
            await self._few.wait()
            yield

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work on a request that was claimed."""
        self._under_way += 1
        if self._under_way > self._enough:
            self._few.clear()
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._under_way -= 1
        if self._under_way <= self._enough:
            self._few.set()
