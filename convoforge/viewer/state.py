"""What all pages share: the ledger, and the few threads that read it, so that the server's event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Concatenate, ParamSpec, TypeVar

from fastapi import Depends, Request

from convoforge.ledger import Ledger
from convoforge.orchestration.followed_runs import read_by
from convoforge.runs.feed import Feed
from convoforge.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
"""Maximum number of pages that are made at once; others wait. Requests that generate have other threads."""


class Viewer:
    """What pages are made of. Its functions are called in threads: `await viewer.run(read_rows, name)`. `feed` follows runs."""

    def __init__(self, ledger: Ledger, settings: Settings, threads: ThreadPoolExecutor) -> None:
        self.ledger = ledger
        self.settings = settings
        self.feed = Feed(read_by(ledger))
        self._threads = threads

    async def run(self, function: Callable[Concatenate[Viewer, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function(viewer, …)` in a thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(self, *args, **kwargs))


@asynccontextmanager
async def open_viewer(settings: Settings) -> AsyncIterator[Viewer]:
    """Open the ledger for pages. Raises `LedgerError` if it cannot be opened."""
    with (
        ThreadPoolExecutor(THREADS, "viewer") as threads,
        await asyncio.get_running_loop().run_in_executor(threads, Ledger, settings.database_url) as ledger,
    ):
        viewer = Viewer(ledger, settings, threads)
        try:
            yield viewer
        finally:
            await viewer.feed.close()


def _opened(request: Request) -> Viewer:
    viewer: Viewer = request.app.state.viewer
    return viewer


Opened = Annotated[Viewer, Depends(_opened)]
"""The viewer, as the pages' functions are given it."""
