"""A permit that became too old before its call was sent is replaced; many of them a few at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from convoforge.generation.generator import LATE_AT_ONCE, Generator
from convoforge.rate import Need, Permit

LATE = Permit(0, "key", Need(), until=0.0)


class Counting:
    """A limiter that counts who waits for it at once."""

    waiting = most = settled = 0

    def settle(self, permit: Permit, usage: Any) -> None:
        self.settled += 1

    async def acquire(self, need: Need) -> Permit:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0.001)
        self.waiting -= 1
        return replace(LATE, until=float("inf"))


@pytest.mark.anyio
async def test_a_thousand_late_permits_are_replaced_a_few_at_a_time() -> None:
    limiter = Counting()
    state = SimpleNamespace(limiter=limiter, rubric=None)
    generator = Generator(state)  # type: ignore[arg-type]
    permits = await asyncio.gather(*(generator._in_time(LATE) for _ in range(1_000)))
    assert all(permit.until == float("inf") for permit in permits)
    assert (limiter.settled, limiter.most) == (1_000, LATE_AT_ONCE)
