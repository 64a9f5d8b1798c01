"""What a run has claimed and not ended: enough that no place in flight stays empty, no more."""

from __future__ import annotations

import asyncio


class Claims:
    """How many requests of one run are under way in this process. More may be claimed while there are no more than `enough`: what one
    has claimed no other build of the dataset finds."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._under_way = 0
        self._few = asyncio.Event()
        self._few.set()

    async def room(self, count: int) -> None:
        """Wait until few are under way; then there are `count` more."""
        while self._under_way > self._enough:
            self._few.clear()
            await self._few.wait()
        self._under_way += count

    def end(self, count: int = 1) -> None:
        """`count` requests have ended, or could not be claimed."""
        self._under_way -= count
        if self._under_way <= self._enough:
            self._few.set()
