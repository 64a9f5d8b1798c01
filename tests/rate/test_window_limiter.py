"""The in-process limiter under a virtual clock: exact to the tick, whatever arrives."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from virtual import VirtualTime
from window_limiter import WindowRateLimiter

from convoforge.rate import Limits, Need
from convoforge.rate.keys import Window

TICK = 0.25  # times are whole ticks, so that sums of floats are exact


def admitted(limits: Limits, arrivals: list[tuple[float, Need]], patience: Callable[[int], float]) -> list[float | None]:
    """When the limiter admitted each request; None for those who lost patience first."""
    time = VirtualTime()
    limiter = WindowRateLimiter(limits, clock=time.clock, sleep=time.sleep)
    times: list[float | None] = [None] * len(arrivals)

    async def send(number: int, at: float, need: Need) -> None:
        await time.sleep(at)
        await limiter.acquire(need)
        times[number] = time.now

    async def send_impatiently(number: int, at: float, need: Need) -> None:
        task = asyncio.ensure_future(send(number, at, need))
        if math.isfinite(patience(number)):
            await time.sleep(at + patience(number))
            task.cancel()
        await asyncio.wait([task])

    asyncio.run(time.run(*(send_impatiently(number, at, need) for number, (at, need) in enumerate(arrivals))))
    return times


def first_moment(earliest: float, need: Need, before: list[tuple[float, Need]], limits: Limits) -> float:
    """The first moment from `earliest` on at which the windows have room."""
    most = max(1, math.floor(limits.max_requests * limits.pause_threshold + 1e-9))
    most_tokens = max(1, math.floor((limits.input_tokens or 10**9) * limits.pause_threshold + 1e-9))
    frees = [at + limits.window_seconds for at, _ in before]
    for moment in sorted({earliest, *(free for free in frees if free > earliest)}):
        counted = [other for (_, other), free in zip(before, frees, strict=True) if free > moment]
        if len(counted) < most and sum(other.input_tokens for other in counted) + need.input_tokens <= most_tokens:
            return moment
    raise AssertionError("every window ends")


ticks = st.integers(0, 60).map(lambda n: n * TICK)
limits = st.builds(
    Limits,
    max_requests=st.integers(1, 8),
    window_seconds=st.integers(1, 20).map(lambda n: n * TICK),
    pause_threshold=st.sampled_from([0.1, 0.5, 0.9, 0.99]),
    input_tokens=st.one_of(st.none(), st.integers(40, 80)),
)
needs = st.builds(Need, input_tokens=st.integers(0, 4))


@given(limits, st.lists(st.tuples(ticks, needs), max_size=30))
def test_each_request_goes_in_turn_at_the_first_moment_that_has_room(limits: Limits, arrivals: list[tuple[float, Need]]) -> None:
    arrivals.sort(key=lambda arrival: arrival[0])
    times = admitted(limits, arrivals, patience=lambda _: math.inf)

    expected: list[tuple[float, Need]] = []
    for at, need in arrivals:
        earliest = max(at, expected[-1][0]) if expected else at
        expected.append((first_moment(earliest, need, expected, limits), need))
    assert times == [at for at, _ in expected]
    for start in times:
        assert start is not None
        inside = [at for at in times if at is not None and start <= at < start + limits.window_seconds]
        assert len(inside) <= limits.max_requests


@given(limits, st.lists(st.tuples(ticks, st.integers(0, 40)), max_size=30))
def test_those_who_lose_patience_leave_no_gap(limits: Limits, arrivals: list[tuple[float, int]]) -> None:
    arrivals.sort()
    patience = [(tolerance + 0.5) * TICK for _, tolerance in arrivals]  # never at the moment of being admitted
    times = admitted(limits, [(at, Need()) for at, _ in arrivals], patience.__getitem__)

    before: list[tuple[float, Need]] = []
    for (at, _), patient, time in zip(arrivals, patience, times, strict=True):
        moment = first_moment(max(at, before[-1][0]) if before else at, Need(), before, limits)
        if moment > at + patient:
            assert time is None
        else:
            assert time == moment
            before.append((moment, Need()))


def test_the_pause_comes_at_the_floor_of_threshold_times_limit_but_after_one_at_least() -> None:
    assert [Window(total, 60, 0.9).capacity for total in (1, 2, 15, 50)] == [1, 1, 13, 45]
    assert Window(100, 60, 0.29).capacity == 29  # 28.999999999999996 in binary


def test_a_correction_counts_at_the_time_of_its_entry_and_from_now_once_that_is_forgotten() -> None:
    window = Window(1000, 60, 0.9)
    entry = window.take(100, now=0)
    window.correct(entry, 700, now=10)
    assert (window.used(59), window.wait(300, 10), window.used(60)) == (700, 50, 0)
    window.correct(entry, 50, now=61)
    assert window.used(61) == 0
    window.correct(entry, 900, now=61)
    assert (window.used(61), window.used(121)) == (200, 0)


def test_an_hour_s_entries_are_forgotten_without_being_looked_at_twice() -> None:
    window = Window(math.inf, 60, 0.9)
    for second in range(3600):
        window.take(1, now=second)
    assert window.used(3600) == 59
