"""What every limiter promises, asked of all: those that count in this process, in the ledger and in Prefect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from convoforge.errors import ConfigError, LimiterClosed, RateLimitError
from convoforge.models import Usage
from convoforge.rate import SEND_WITHIN_SECONDS, Limits, Need, Permit, describe_rate
from convoforge.rate.limiter import RateLimiter

pytestmark = pytest.mark.anyio

OpenLimiter = Callable[..., RateLimiter]
ONE = Need()


def most_in_any_window(times: list[float], seconds: float) -> int:
    return max(sum(start <= other < start + seconds for other in times) for start in times)


async def take_all_there_is(limiter: RateLimiter) -> Permit:
    """Use the limit up; returns the last permit."""
    permit = await limiter.acquire(ONE)
    while not limiter.status().is_paused:
        permit = await limiter.acquire(ONE)
    return permit


async def seconds_to_acquire(limiter: RateLimiter, need: Need = ONE) -> float:
    start = time.monotonic()
    await limiter.acquire(need)
    return time.monotonic() - start


async def test_no_window_holds_more_than_the_limit_and_the_line_moves_in_order(open_limiter: OpenLimiter) -> None:
    arrivals: list[tuple[float, int]] = []

    async with open_limiter(Limits(20, 1.0, pause_threshold=0.5)) as limiter:

        async def send(number: int) -> None:
            await limiter.acquire(ONE)
            arrivals.append((time.monotonic(), number))

        await asyncio.gather(*map(send, range(30)))

    times, numbers = zip(*arrivals, strict=True)
    assert most_in_any_window(list(times), 1.0) <= 20
    assert limiter.status().allowed == 20
    assert list(numbers) == sorted(numbers)
    assert times[-1] - times[0] < 20  # it takes 2 s; a machine may be busy


def test_the_rate_is_that_of_the_last_window_and_never_above_what_is_allowed() -> None:
    assert describe_rate(45, 50, 60) == "45 of 50 requests in the last minute"
    assert describe_rate(101, 50, 10) == "50 of 50 requests in the last 10 s"
    assert describe_rate(1200, 6000, 3600) == "1,200 of 6,000 requests in the last hour"


async def test_with_the_queue_off_a_request_too_many_is_told_when_to_come_back(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(10, 0.5, queue=False)) as limiter:
        await take_all_there_is(limiter)
        with pytest.raises(RateLimitError) as refused:
            await limiter.acquire(ONE)
        assert 0 < refused.value.retry_after <= 0.5 + SEND_WITHIN_SECONDS
        assert limiter.status().queue_length == 0
        await asyncio.sleep(refused.value.retry_after + 0.01)
        await limiter.acquire(ONE)


async def test_closing_wakes_those_who_wait_and_refuses_those_who_come(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(2, 60.0)) as limiter:
        await take_all_there_is(limiter)
        waiting = [asyncio.create_task(limiter.acquire(ONE)) for _ in range(3)]
        await asyncio.sleep(0.05)
        limiter.close("budget reached")
        limiter.close("too late to be the reason")
        for refused in [*waiting, limiter.acquire(ONE)]:
            with pytest.raises(LimiterClosed, match="^budget reached$"):
                await refused


async def test_the_status_tells_use_room_line_and_pause(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(45, 60_000.0)) as limiter:  # nothing flows back while a busy machine or server takes its time
        before = limiter.status()
        assert (before.used, before.queue_length, before.is_paused, before.reset_at) == (0, 0, False, None)
        assert before.remaining > 1
        assert limiter.waiting == ""

        await limiter.acquire(ONE)
        after = limiter.status()
        assert (after.used, after.remaining) == (1, before.remaining - 1)
        assert after.reset_at is not None
        assert 0 < (after.reset_at - datetime.now(UTC)).total_seconds() <= 60_001  # and what a request may take to be sent

        await take_all_there_is(limiter)
        waiting = asyncio.create_task(limiter.acquire(ONE))
        await asyncio.sleep(0.2)
        full = limiter.status()
        assert (full.queue_length, full.is_paused) == (1, True)
        assert limiter.waiting == "waiting for shared rate"
        waiting.cancel()


async def test_a_pause_stops_everyone_for_its_time(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(1000, 60.0)) as limiter:
        permit = await limiter.acquire(ONE)
        limiter.pause(0.7, permit)
        assert limiter.status().is_paused
        start = time.monotonic()
        waiting = [asyncio.create_task(limiter.acquire(ONE)) for _ in range(2)]
        await asyncio.sleep(0.3)
        assert limiter.waiting == "waiting 0 s, as the API asked"
        await waiting[0]
        assert 0.69 < time.monotonic() - start
        await waiting[1]


async def test_each_key_has_its_own_limit_and_a_dead_one_is_left_out(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(10, 60.0, pause_threshold=0.5), ["aaaaaa", "bbbbbb"]) as limiter:
        slots = [await limiter.acquire(ONE) for _ in range(6)]
        assert sorted(permit.key for permit in slots) == [0, 0, 0, 1, 1, 1]
        assert {(permit.key, permit.fingerprint) for permit in slots} == {(0, "aaaaaa"), (1, "bbbbbb")}

        limiter.drop(slots[0])
        dead = slots[0].key
        assert [(await limiter.acquire(ONE)).key for _ in range(2)] == [1 - dead, 1 - dead]

        waiting = asyncio.create_task(limiter.acquire(ONE))
        await asyncio.sleep(0.05)
        limiter.drop(next(permit for permit in slots if permit.key != dead))
        with pytest.raises(LimiterClosed, match="no API key is left"):
            await waiting


async def test_those_who_stop_waiting_take_nothing_with_them(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(10, 0.6)) as limiter:
        await take_all_there_is(limiter)
        impatient = [asyncio.create_task(limiter.acquire(ONE)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in impatient:
            task.cancel()
        await asyncio.gather(*impatient, return_exceptions=True)
        assert limiter.status().queue_length == 0
        await limiter.acquire(ONE)
        assert limiter.status().used <= 10  # this one, and what is left of those before: nothing of the twenty that left


async def test_a_slot_granted_to_one_who_is_just_leaving_is_free_again(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(1, 0.6)) as limiter:
        await limiter.acquire(ONE)
        leaving = asyncio.create_task(limiter.acquire(ONE))
        await asyncio.sleep(0.05)
        while limiter.status().queue_length:
            await asyncio.sleep(0)
        assert not leaving.done()  # granted, and not yet told
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await seconds_to_acquire(limiter) < 0.4


async def test_tokens_beyond_the_estimate_are_a_debt_that_later_requests_wait_for(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(1000, 1.0, input_tokens=1000, output_tokens=1000)) as limiter:
        permit = await limiter.acquire(Need(50, 50))
        limiter.settle(permit, Usage(input_tokens=100, cache_write_5m_tokens=100, cache_read_tokens=5000, output_tokens=850))
        assert await seconds_to_acquire(limiter, Need(50, 60)) > 0.5


async def test_tokens_not_used_are_given_back(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(1000, 60.0, input_tokens=1000, pause_threshold=0.5)) as limiter:
        for usage in (None, Usage(input_tokens=1), None, Usage(input_tokens=1)):
            permit = await limiter.acquire(Need(input_tokens=400))
            limiter.settle(permit, usage)
        assert await seconds_to_acquire(limiter, Need(input_tokens=400)) < 1


async def test_a_request_larger_than_a_limit_is_refused_at_once(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(1000, 60.0, output_tokens=1000)) as limiter:
        with pytest.raises(ConfigError, match=r"1001 output-tokens.*limits\.output_tokens"):
            await limiter.acquire(Need(output_tokens=1001))


async def test_the_api_s_headers_lower_the_limit_and_never_raise_it(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(500, 0.5)) as limiter:
        permit = await limiter.acquire(ONE)
        limiter.learn(permit, {"anthropic-ratelimit-requests-limit": "240"})  # two in half a second, of which one at once
        limiter.learn(permit, {"anthropic-ratelimit-requests-limit": "90000", "anthropic-ratelimit-requests-remaining": "80000"})
        assert 0.3 < await seconds_to_acquire(limiter) < 5
        assert 0.4 < await seconds_to_acquire(limiter) < 5


async def test_when_the_api_has_nothing_left_the_gate_waits_until_something_flowed_back(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits(1000, 1.0)) as limiter:
        permit = await limiter.acquire(Need(output_tokens=100))
        announced = {"anthropic-ratelimit-output-tokens-limit": "12000", "anthropic-ratelimit-output-tokens-remaining": "0"}
        limiter.learn(permit, announced)
        assert 0.45 < await seconds_to_acquire(limiter) < 0.8


async def test_a_gate_that_was_left_admits_nothing(open_limiter: OpenLimiter) -> None:
    async with open_limiter(Limits()) as limiter:
        pass
    with pytest.raises(LimiterClosed, match="left"):
        await limiter.acquire(ONE)


def test_limits_that_cannot_work_are_refused() -> None:
    for wrong in ({"max_requests": 0}, {"window_seconds": -1}, {"pause_threshold": 1.0}, {"output_tokens": 0}):
        with pytest.raises(ConfigError, match=f"limits.{next(iter(wrong))}"):
            Limits(**wrong)
