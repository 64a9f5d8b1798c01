"""What every gate promises, asked of all: those that count in this process, in the ledger and in Prefect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from convoforge.errors import ConfigError, GateClosed, RateLimitError
from convoforge.gate import SEND_WITHIN_SECONDS, Gate, Limits, Need, Slot
from convoforge.models import Usage

pytestmark = pytest.mark.anyio

OpenGate = Callable[..., Gate]
ONE = Need()


def most_in_any_window(times: list[float], seconds: float) -> int:
    return max(sum(start <= other < start + seconds for other in times) for start in times)


async def take_all_there_is(gate: Gate) -> Slot:
    """Use the limit up; returns the last slot."""
    slot = await gate.acquire(ONE)
    while not gate.status().is_paused:
        slot = await gate.acquire(ONE)
    return slot


async def seconds_to_acquire(gate: Gate, need: Need = ONE) -> float:
    start = time.monotonic()
    await gate.acquire(need)
    return time.monotonic() - start


async def test_no_window_holds_more_than_the_limit_and_the_line_moves_in_order(open_gate: OpenGate) -> None:
    arrivals: list[tuple[float, int]] = []

    async with open_gate(Limits(20, 1.0, pause_threshold=0.5)) as gate:

        async def send(number: int) -> None:
            await gate.acquire(ONE)
            arrivals.append((time.monotonic(), number))

        await asyncio.gather(*map(send, range(30)))

    times, numbers = zip(*arrivals, strict=True)
    assert most_in_any_window(list(times), 1.0) <= 20
    assert list(numbers) == sorted(numbers)
    assert times[-1] - times[0] < 20  # it takes 2 s; a machine may be busy


async def test_with_the_queue_off_a_request_too_many_is_told_when_to_come_back(open_gate: OpenGate) -> None:
    async with open_gate(Limits(10, 0.5, queue=False)) as gate:
        await take_all_there_is(gate)
        with pytest.raises(RateLimitError) as refused:
            await gate.acquire(ONE)
        assert 0 < refused.value.retry_after <= 0.5 + SEND_WITHIN_SECONDS
        assert gate.status().queue_length == 0
        await asyncio.sleep(refused.value.retry_after + 0.01)
        await gate.acquire(ONE)


async def test_closing_wakes_those_who_wait_and_refuses_those_who_come(open_gate: OpenGate) -> None:
    async with open_gate(Limits(2, 60.0)) as gate:
        await take_all_there_is(gate)
        waiting = [asyncio.create_task(gate.acquire(ONE)) for _ in range(3)]
        await asyncio.sleep(0.05)
        gate.close("budget reached")
        gate.close("too late to be the reason")
        for refused in [*waiting, gate.acquire(ONE)]:
            with pytest.raises(GateClosed, match="^budget reached$"):
                await refused


async def test_the_status_tells_use_room_line_and_pause(open_gate: OpenGate) -> None:
    async with open_gate(Limits(45, 60_000.0)) as gate:  # nothing flows back while a busy machine or server takes its time
        before = gate.status()
        assert (before.used, before.queue_length, before.is_paused, before.reset_at) == (0, 0, False, None)
        assert before.remaining > 1
        assert gate.waiting == ""

        await gate.acquire(ONE)
        after = gate.status()
        assert (after.used, after.remaining) == (1, before.remaining - 1)
        assert after.reset_at is not None
        assert 0 < (after.reset_at - datetime.now(UTC)).total_seconds() <= 60_001  # and what a request may take to be sent

        await take_all_there_is(gate)
        waiting = asyncio.create_task(gate.acquire(ONE))
        await asyncio.sleep(0.2)
        full = gate.status()
        assert (full.queue_length, full.is_paused) == (1, True)
        assert gate.waiting == "waiting for shared rate"
        waiting.cancel()


async def test_a_pause_stops_everyone_for_its_time(open_gate: OpenGate) -> None:
    async with open_gate(Limits(1000, 60.0)) as gate:
        slot = await gate.acquire(ONE)
        gate.pause(0.7, slot)
        assert gate.status().is_paused
        start = time.monotonic()
        waiting = [asyncio.create_task(gate.acquire(ONE)) for _ in range(2)]
        await asyncio.sleep(0.3)
        assert gate.waiting == "waiting 0 s, as the API asked"
        await waiting[0]
        assert 0.69 < time.monotonic() - start
        await waiting[1]


async def test_each_key_has_its_own_limit_and_a_dead_one_is_left_out(open_gate: OpenGate) -> None:
    async with open_gate(Limits(10, 60.0, pause_threshold=0.5), ["aaaaaa", "bbbbbb"]) as gate:
        slots = [await gate.acquire(ONE) for _ in range(6)]
        assert sorted(slot.key for slot in slots) == [0, 0, 0, 1, 1, 1]
        assert {(slot.key, slot.fingerprint) for slot in slots} == {(0, "aaaaaa"), (1, "bbbbbb")}

        gate.drop(slots[0])
        dead = slots[0].key
        assert [(await gate.acquire(ONE)).key for _ in range(2)] == [1 - dead, 1 - dead]

        waiting = asyncio.create_task(gate.acquire(ONE))
        await asyncio.sleep(0.05)
        gate.drop(next(slot for slot in slots if slot.key != dead))
        with pytest.raises(GateClosed, match="no API key is left"):
            await waiting


async def test_those_who_stop_waiting_take_nothing_with_them(open_gate: OpenGate) -> None:
    async with open_gate(Limits(10, 0.6)) as gate:
        await take_all_there_is(gate)
        impatient = [asyncio.create_task(gate.acquire(ONE)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in impatient:
            task.cancel()
        await asyncio.gather(*impatient, return_exceptions=True)
        assert gate.status().queue_length == 0
        await gate.acquire(ONE)
        assert gate.status().used <= 10  # this one, and what is left of those before: nothing of the twenty that left


async def test_a_slot_granted_to_one_who_is_just_leaving_is_free_again(open_gate: OpenGate) -> None:
    async with open_gate(Limits(1, 0.6)) as gate:
        await gate.acquire(ONE)
        leaving = asyncio.create_task(gate.acquire(ONE))
        await asyncio.sleep(0.05)
        while gate.status().queue_length:
            await asyncio.sleep(0)
        assert not leaving.done()  # granted, and not yet told
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await seconds_to_acquire(gate) < 0.4


async def test_tokens_beyond_the_estimate_are_a_debt_that_later_requests_wait_for(open_gate: OpenGate) -> None:
    async with open_gate(Limits(1000, 1.0, input_tokens=1000, output_tokens=1000)) as gate:
        slot = await gate.acquire(Need(50, 50))
        gate.settle(slot, Usage(input_tokens=100, cache_write_5m_tokens=100, cache_read_tokens=5000, output_tokens=850))
        assert await seconds_to_acquire(gate, Need(50, 60)) > 0.5


async def test_tokens_not_used_are_given_back(open_gate: OpenGate) -> None:
    async with open_gate(Limits(1000, 60.0, input_tokens=1000, pause_threshold=0.5)) as gate:
        for usage in (None, Usage(input_tokens=1), None, Usage(input_tokens=1)):
            slot = await gate.acquire(Need(input_tokens=400))
            gate.settle(slot, usage)
        assert await seconds_to_acquire(gate, Need(input_tokens=400)) < 1


async def test_a_request_larger_than_a_limit_is_refused_at_once(open_gate: OpenGate) -> None:
    async with open_gate(Limits(1000, 60.0, output_tokens=1000)) as gate:
        with pytest.raises(ConfigError, match=r"1001 output-tokens.*limits\.output_tokens"):
            await gate.acquire(Need(output_tokens=1001))


async def test_the_api_s_headers_lower_the_limit_and_never_raise_it(open_gate: OpenGate) -> None:
    async with open_gate(Limits(500, 0.5)) as gate:
        slot = await gate.acquire(ONE)
        gate.learn(slot, {"anthropic-ratelimit-requests-limit": "240"})  # two in half a second, of which one at once
        gate.learn(slot, {"anthropic-ratelimit-requests-limit": "90000", "anthropic-ratelimit-requests-remaining": "80000"})
        assert 0.3 < await seconds_to_acquire(gate) < 5
        assert 0.4 < await seconds_to_acquire(gate) < 5


async def test_when_the_api_has_nothing_left_the_gate_waits_until_something_flowed_back(open_gate: OpenGate) -> None:
    async with open_gate(Limits(1000, 1.0)) as gate:
        slot = await gate.acquire(Need(output_tokens=100))
        announced = {"anthropic-ratelimit-output-tokens-limit": "12000", "anthropic-ratelimit-output-tokens-remaining": "0"}
        gate.learn(slot, announced)
        assert 0.45 < await seconds_to_acquire(gate) < 0.8


async def test_a_gate_that_was_left_admits_nothing(open_gate: OpenGate) -> None:
    async with open_gate(Limits()) as gate:
        pass
    with pytest.raises(GateClosed, match="left"):
        await gate.acquire(ONE)


def test_limits_that_cannot_work_are_refused() -> None:
    for wrong in ({"max_requests": 0}, {"window_seconds": -1}, {"pause_threshold": 1.0}, {"output_tokens": 0}):
        with pytest.raises(ConfigError, match=f"limits.{next(iter(wrong))}"):
            Limits(**wrong)
