"""The limiter that counts in the ledger: shared by processes, remembered over a restart, exact whatever arrives."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from convoforge.errors import LedgerError, RateLimitError
from convoforge.ledger import Ledger
from convoforge.ledger.permits import Ask, Counted, fit, read_permits, take_permits
from convoforge.ledger.rate_limiter import LedgerRateLimiter, seconds_to_send
from convoforge.ledger.tables import permits
from convoforge.rate import Limits, Need
from convoforge.rate.limiter import RateLimiter

OpenLimiter = Callable[..., RateLimiter]
LIMITS = Limits(10, 60.0, queue=False)


def open_on(ledger: Ledger, limits: Limits = LIMITS, model: str = "m") -> LedgerRateLimiter:
    return LedgerRateLimiter(limits, ledger=ledger, endpoint="https://api.anthropic.com", model=model, fingerprints=["3f2a9c"])


async def admitted(limiter: RateLimiter, most: int = 100) -> int:
    """How many requests go at once."""
    for count in range(most):
        try:
            await limiter.acquire(Need())
        except RateLimitError:
            return count
    return most


def test_processes_share_one_count_and_a_restart_remembers_it(database_url: str) -> None:
    """Each ledger object stands for a process. `serve` twice at 10 a window sent 18; one restarted sent 27."""

    async def both() -> tuple[int, int, int]:
        with Ledger(database_url) as one, Ledger(database_url) as other:
            async with open_on(one) as first, open_on(other) as second:
                here = await admitted(first, most=4)
                there = await admitted(second)
                async with open_on(other, model="another") as elsewhere:
                    return here, there, await admitted(elsewhere, most=3)

    async def again() -> tuple[int, int, bool]:
        with Ledger(database_url) as ledger:
            async with open_on(ledger) as limiter:
                status = limiter.status()
                return await admitted(limiter), status.used, status.is_paused

    assert asyncio.run(both()) == (4, 5, 3)
    assert asyncio.run(again()) == (0, 9, True)


def test_requests_at_the_same_moment_from_many_processes_pass_the_limit_together(database_url: str) -> None:
    async def all_at_once() -> int:
        with ExitStack() as stack:
            ledgers = [stack.enter_context(Ledger(database_url)) for _ in range(4)]
            counts = await asyncio.gather(*map(one, ledgers))
            return sum(counts)

    async def one(ledger: Ledger) -> int:
        async with open_on(ledger) as limiter:
            results = await asyncio.gather(*(limiter.acquire(Need()) for _ in range(8)), return_exceptions=True)
            return sum(not isinstance(result, Exception) for result in results)

    assert asyncio.run(all_at_once()) == 9


def test_a_pause_that_the_api_asks_for_stops_the_others_too(database_url: str) -> None:
    async def run() -> float:
        with Ledger(database_url) as one, Ledger(database_url) as other:
            async with open_on(one, Limits(1000)) as first, open_on(other, Limits(1000)) as second:
                first.pause(0.8, await first.acquire(Need()))
                start = time.monotonic()
                while not one.read(read_permits, first._keys[0].limit, 60.0).pause_seconds:
                    assert time.monotonic() - start < 0.8
                    await asyncio.sleep(0.01)
                await second.acquire(Need())
                return time.monotonic() - start

    assert asyncio.run(run()) > 0.5


def test_tokens_that_were_not_used_make_room_for_other_processes(database_url: str) -> None:
    limits = Limits(1000, 60.0, input_tokens=1000)

    async def run() -> float:
        with Ledger(database_url) as one, Ledger(database_url) as other:
            async with open_on(one, limits) as first, open_on(other, limits) as second:
                permit = await first.acquire(Need(input_tokens=800))
                waiting = asyncio.create_task(second.acquire(Need(input_tokens=800)))
                await asyncio.sleep(0.3)
                assert not waiting.done()
                first.settle(permit, None)
                start = time.monotonic()
                await waiting
                return time.monotonic() - start

    assert asyncio.run(run()) < 30


def test_a_clock_that_was_set_back_does_not_stop_the_rate(database_url: str) -> None:
    with Ledger(database_url) as ledger:
        ask = Ask("a", [(1, 0, 0)] * 3, (3.0, math.inf, math.inf), 60.0)
        assert ledger.write(take_permits, ask).granted == 3
        ledger.write(lambda connection: connection.execute(update(permits).values(at=permits.c.at + 10**12)))
        grant = ledger.write(take_permits, ask)
    assert grant.granted == 0
    assert 59 < grant.wait <= 60


def test_a_ledger_that_fails_is_heard_of_and_asked_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with Ledger(database_url) as ledger:
            async with open_on(ledger) as limiter:

                async def fail(*_args: object) -> None:
                    raise LedgerError("the disk is full")

                with monkeypatch.context() as patch:
                    patch.setattr(ledger, "awrite", fail)
                    with pytest.raises(LedgerError, match="full"):
                        await limiter.acquire(Need())
                await limiter.acquire(Need())

    asyncio.run(run())


amounts = st.tuples(st.just(1), st.integers(0, 30), st.integers(0, 30))
entries = st.lists(st.tuples(st.integers(1, 60).map(float), amounts), max_size=12).map(lambda some: sorted(some))


@given(entries, st.lists(amounts, min_size=1, max_size=12), st.integers(1, 9), st.integers(20, 80))
def test_what_is_granted_fits_and_the_next_one_fits_after_its_wait_and_no_sooner(
    counted: list[tuple[float, tuple[int, int, int]]], needs: list[tuple[int, int, int]], most: int, tokens: int
) -> None:
    capacities = (float(most), float(tokens), math.inf)
    granted, wait = fit(needs, Counted(counted), capacities, 60.0)

    def fits(need: tuple[int, int, int], at: float) -> bool:
        there = [one for left, one in [*counted, *((60.0, need) for need in needs[:granted])] if left > at]
        return all(sum(one[kind] for one in there) + min(need[kind], capacities[kind]) <= capacities[kind] for kind in range(3))

    if granted < len(needs):
        assert not fits(needs[granted], 0.0)
        assert fits(needs[granted], wait)
        assert not fits(needs[granted], math.nextafter(wait, 0))
    else:
        assert wait == 0
    if granted:
        assert len(counted) + granted <= most


def test_a_permit_counts_for_as_long_as_it_may_take_to_the_api() -> None:
    assert [seconds_to_send(window) for window in (1, 20, 60, 3600)] == [0.25, 0.4, 1.0, 1.0]
