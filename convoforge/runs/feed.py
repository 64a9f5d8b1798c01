"""Following what changes by itself: it is read about once a second for all who watch it together, and nobody's thread waits."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

from convoforge.background import end_task

SECONDS = 1.0
"""Seconds between two looks."""

SHARE = 0.2
"""Maximum share of the time that is spent reading: what takes long to read is read less often."""


class Goes(Protocol):
    """What can be followed: `goes_on` says whether it may still change by itself."""

    @property
    def goes_on(self) -> bool: ...


T = TypeVar("T", bound=Goes)


class Feed(Generic[T]):
    """Lets any number of watchers follow things by their id. `read` is called in a thread, with an id and what was read before of it.

    Belongs to one event loop. Nothing is read while nobody watches.
    """

    def __init__(self, read: Callable[[str, T | None], T], seconds: float = SECONDS) -> None:
        self._read = read
        self._seconds = seconds
        self._watchers: Counter[str] = Counter()
        self._latest: dict[str, T | Exception] = {}
        self._texts: dict[tuple[str, Callable[[T], str]], tuple[T, asyncio.Task[str]]] = {}
        self._looked = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None
        self._stopped = False

    async def follow(self, name: str) -> AsyncIterator[T]:
        """What is read of it, as often as it is read, until it does not go on. Raises what `read` raises."""
        self._watchers[name] += 1
        try:
            if self._reader is None:
                self._reader = asyncio.create_task(self._look())
            found = self._latest.get(name)
            while not self._stopped:
                if isinstance(found, Exception):
                    raise found
                if found is not None:
                    yield found
                    if not found.goes_on:
                        return
                async with self._looked:
                    while self._latest.get(name) is found and not self._stopped:  # there may be news since it was yielded
                        await self._looked.wait()
                found = self._latest.get(name)
        finally:
            self._watchers[name] -= 1
            if not self._watchers[name]:
                del self._watchers[name]
                self._latest.pop(name, None)
                self._texts = {key: kept for key, kept in self._texts.items() if key[0] != name}

    async def render(self, name: str, found: T, render: Callable[[T], str]) -> str:
        """What `render` makes of what was read of a thing: once for all who watch it, in a thread."""
        kept = self._texts.get((name, render))
        if kept is None or kept[0] is not found:
            kept = self._texts[name, render] = found, asyncio.create_task(asyncio.to_thread(render, found))
        return await asyncio.shield(kept[1])  # one who goes away takes it from nobody

    def stop(self) -> None:
        """Let go of all who watch, within a look: the server is stopping."""
        self._stopped = True

    async def close(self) -> None:
        """Read no more."""
        if self._reader is not None:
            await end_task(self._reader)

    async def _look(self) -> None:
        while self._watchers and not self._stopped:
            began = time.monotonic()
            for name in list(self._watchers):
                before = self._latest.get(name)
                known = None if isinstance(before, Exception) else before
                if known is not None and not known.goes_on:
                    continue
                try:
                    now: T | Exception = await asyncio.to_thread(self._read, name, known)
                except Exception as error:  # noqa: BLE001 - it is its watchers' to raise
                    now = error
                if self._watchers[name]:
                    self._latest[name] = now
            await self._tell()
            took = time.monotonic() - began
            await asyncio.sleep(max(self._seconds, took / SHARE - took))
        self._reader = None  # whoever comes from here on starts another one
        await self._tell()

    async def _tell(self) -> None:
        async with self._looked:
            self._looked.notify_all()


async def make_events(
    feed: Feed[T], name: str, last: str | None, render: Callable[[T], str]
) -> AsyncIterator[tuple[str, str, str]]:
    """Events of what is followed, as (kind, id, text): `run` whenever its text has changed, `end` with the last one. The id is that of the
    text: who has seen the text with the id `last` is not sent it again."""
    async for found in feed.follow(name):
        text = await feed.render(name, found, render)
        number = hashlib.sha256(text.encode()).hexdigest()[:16]
        if not found.goes_on:
            yield "end", number, text
        elif number != last:
            yield "run", number, text
        last = number
