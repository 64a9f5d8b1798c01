"""Places in flight: never more than there are, and none empty while calls wait that take as long to begin as to run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from virtual import VirtualTime

from convoforge.places import Places

MOST = 8

pytestmark = pytest.mark.anyio


async def flights(ready: Callable[[int], float], call: float, calls: int) -> tuple[int, float]:
    """The most calls in flight at once, and the share of the places that were used, with calls that take so long to make ready."""
    time = VirtualTime()
    places = Places(MOST, time.clock)
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


@pytest.mark.parametrize("ready", [0.0, 0.1, 1.0, 30.0])
async def test_there_are_never_more_calls_in_flight_than_places(ready: float) -> None:
    most, _ = await flights(lambda _: ready, 1.0, 200)
    assert most == MOST


async def test_no_place_stays_empty_while_calls_are_made_ready_in_groups() -> None:
    """As commits do it: some are ready at once, the others wait for the next."""
    _, used = await flights(lambda number: 0.05 if number % 4 else 0.6, 1.0, 600)
    assert used > 0.96


async def test_what_takes_longer_to_be_made_ready_than_to_call_takes_no_more_than_half_as_many_places_again() -> None:
    time = VirtualTime()
    places = Places(MOST, time.clock)
    begun = 0

    async def one() -> None:
        nonlocal begun
        await places.begin()
        begun += 1
        since = time.now
        await time.sleep(30.0)
        async with places.flight(since):
            await time.sleep(1.0)
            begun -= 1
            assert begun < MOST + MOST // 2

    await time.run(*(one() for _ in range(200)))


async def test_a_call_that_does_not_come_about_leaves_its_place() -> None:
    places = Places(1)
    for _ in range(3):
        await places.begin()
        places.leave()
    await places.begin()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(places.begin(), 0.01)
