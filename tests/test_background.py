"""What goes on beside something else ends with it."""

from __future__ import annotations

import asyncio

import pytest

from convoforge import background
from convoforge.background import background_task, end_task

pytestmark = pytest.mark.anyio


async def test_a_task_that_loses_a_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As HTTP libraries lose one that comes together with an answer."""
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    async with asyncio.timeout(5):
        async with background_task(work()):
            await asyncio.sleep(0)
    assert lost == 3


async def test_what_fails_beside_is_raised_at_the_end() -> None:
    async def work() -> None:
        raise ValueError("beside")

    with pytest.raises(ValueError, match="beside"):
        async with background_task(work()):
            await asyncio.sleep(0.01)


async def test_what_a_task_raised_before_it_was_ended_is_raised_there() -> None:
    async def work() -> None:
        raise ValueError("before")

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    with pytest.raises(ValueError, match="before"):
        await end_task(task)
