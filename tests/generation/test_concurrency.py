"""InFlightLimiter in flight: never more than there are, hardly one empty while calls wait, and nothing made ready that would wait for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from virtual import VirtualTime

from convoforge.generation.concurrency import InFlightLimiter

MOST = 8

pytestmark = pytest.mark.anyio


async def flights(ready: Callable[[int], float], call: float, calls: int) -> tuple[int, float]:
    """The most calls in flight at once, and the share of the places that were used, with calls that take so long to make ready."""
    time = VirtualTime()
    places = InFlightLimiter(MOST, time.clock)
    flying = most = 0

    async def one(number: int) -> None:
        nonlocal flying, most
        await places.begin()
        since = time.now
        await time.sleep(ready(number))
        async with places.flight(since):
            flying += 1
            most = max(most, flying)
            await time.sleep(call)
            flying -= 1

    await time.run(*(one(number) for number in range(calls)))
    return most, calls * call / (MOST * time.now)


@pytest.mark.parametrize("ready", [0.0, 0.01, 0.1, 30.0])
async def test_there_are_never_more_calls_in_flight_than_places(ready: float) -> None:
    most, _ = await flights(lambda _: ready, 0.1, 200)
    assert most == MOST


async def test_no_place_stays_empty_while_calls_are_made_ready_in_groups() -> None:
    """As commits do it: some are ready at once, the others wait for the next."""
    _, used = await flights(lambda number: 0.01 if number % 4 else 0.12, 0.2, 600)
    assert used > 0.96


@pytest.mark.parametrize(
    ("ready", "call", "ahead"), [(0.0, 0.2, 0), (0.02, 0.2, 1), (30.0, 0.15, 4), (30.0, 0.05, 4), (30.0, 5.0, 0)]
)
async def test_as_many_are_made_ready_ahead_as_begin_within_a_tenth_of_a_second(ready: float, call: float, ahead: int) -> None:
    time = VirtualTime()
    places = InFlightLimiter(MOST, time.clock)

    async def one() -> None:
        await places.begin()
        since = time.now
        await time.sleep(ready)  # which gets shorter, below
        async with places.flight(since):
            await time.sleep(call)

    await time.run(*(one() for _ in range(400)))
    assert places.ahead == ahead
    ready = 0.0
    await time.run(*(one() for _ in range(400)))
    assert places.ahead == 0


async def test_a_call_that_does_not_come_about_leaves_its_place() -> None:
    places = InFlightLimiter(1)
    for _ in range(3):
        await places.begin()
        places.leave()
    await places.begin()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(places.begin(), 0.01)
