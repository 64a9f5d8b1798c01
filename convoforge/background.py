"""Something that goes on beside something else, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

AGAIN_SECONDS = 5.0
"""Seconds after which a task that goes on is cancelled again: a library that it awaits may lose a cancellation."""


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended. Raises what it raised."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_SECONDS)
    if not task.cancelled():
        task.result()


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` beside the block and cancels it at the block's end. Raises what it has raised by then."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end_task(task)
