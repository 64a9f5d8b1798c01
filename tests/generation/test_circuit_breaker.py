"""After an error that no request survives: a pause that grows, one request that tries, and all is well again when it works."""

from __future__ import annotations

import logging

import pytest

from convoforge.generation.circuit_breaker import MAX_SECONDS, CircuitBreaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_while_all_is_well_nothing_is_refused(clock: Clock) -> None:
    breaker = CircuitBreaker(clock)
    assert breaker.refusal() is None
    assert breaker.enter() is False


def test_one_request_tries_after_a_while_and_the_others_wait_for_what_it_finds(clock: Clock) -> None:
    breaker = CircuitBreaker(clock)
    breaker.trip("401")
    refusal = breaker.refusal()
    assert refusal is not None and (str(refusal), refusal.retry_after) == ("401", 5.0)
    clock.now += 5
    assert breaker.refusal() is None
    assert breaker.enter() is True
    assert str(breaker.refusal()) == "401"
    breaker.leave(worked=True)
    assert (breaker.refusal(), breaker.enter()) == (None, False)


def test_the_pause_doubles_up_to_five_minutes_and_begins_anew_after_a_success(clock: Clock) -> None:
    breaker, pauses = CircuitBreaker(clock), []
    for _ in range(10):
        breaker.trip("402")
        pauses.append(breaker.until - clock.now)
        clock.now = breaker.until
        breaker.enter()
    assert pauses == [5, 10, 20, 40, 80, 160, *[MAX_SECONDS] * 4]
    breaker.leave(worked=True)
    breaker.trip("402")
    assert breaker.until - clock.now == 5


def test_what_was_sent_before_makes_the_pause_no_longer(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    breaker = CircuitBreaker(clock)
    for _ in range(50):
        breaker.trip("403")
    assert breaker.until - clock.now == 5
    assert len(caplog.records) == 1
    assert "403" in caplog.text


def test_where_nothing_is_found_out_another_request_tries(clock: Clock) -> None:
    breaker = CircuitBreaker(clock)
    breaker.trip("403")
    clock.now += 5
    breaker.enter()
    breaker.leave(worked=False)
    assert breaker.refusal() is None
    assert breaker.enter() is True
