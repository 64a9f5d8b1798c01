"""When a call is tried again, how long after, and when no more. Sleep and randomness are the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.claude.retry import Policy
from convoforge.errors import (
    BudgetExceeded,
    ClaudeAPIError,
    ConfigError,
    ConvoforgeError,
    FatalAPIError,
    LedgerError,
    LimiterClosed,
    OverloadError,
    ParseError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from convoforge.planning.spec import Retry

FAULT, FULL = TransientError("lost"), OverloadError("full")


class Call:
    """A call that fails with `errors`, one after the other, then succeeds; and the waits before each further attempt, in seconds."""

    def __init__(self, *errors: Exception, chance: float = 0.0, **rule: float) -> None:
        self._errors: Iterator[Exception | None] = chain(errors, repeat(None))
        self._rule = Retry.model_validate(rule)
        self._chance = chance
        self.attempts = 0
        self.waits: list[float] = []
        self._slept = 0.0

    async def _sleep(self, seconds: float) -> None:
        self._slept += seconds

    async def _make(self, may_go_on: Callable[[], bool]) -> str:
        policy = Policy(self._rule, random=lambda: self._chance, sleep=self._sleep)

        async def call() -> str:
            if self.attempts:
                self.waits.append(round(self._slept, 9))
                self._slept = 0.0
            self.attempts += 1
            if error := next(self._errors):
                raise error
            return "done"

        return await policy.run(call, may_go_on)

    def __call__(self, may_go_on: Callable[[], bool] = lambda: True) -> str:
        return asyncio.run(self._make(may_go_on))


def test_a_call_that_succeeds_is_made_once() -> None:
    call = Call()
    assert call() == "done"
    assert (call.attempts, call.waits) == (1, [])


def test_the_wait_doubles_up_to_its_maximum_and_jitter_comes_on_top() -> None:
    call = Call(*[FAULT] * 11, max_attempts=12, chance=0.5)
    assert call() == "done"
    assert call.waits == [1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5, 128.5, 256.5, 300.5, 300.5]
    quick = Call(*[FAULT] * 3, max_attempts=4, base_delay_seconds=0.25, max_delay_seconds=0.6, jitter_seconds=0)
    quick()
    assert quick.waits == [0.25, 0.5, 0.6]


def test_a_transient_fault_is_tried_as_often_as_allowed_and_then_raised_itself() -> None:
    last = TransientError("the last one")
    call = Call(FAULT, FAULT, last)
    with pytest.raises(TransientError) as caught:
        call()
    assert caught.value is last
    assert (call.attempts, call.waits) == (3, [1, 2])
    once = Call(FAULT, max_attempts=1)
    with pytest.raises(TransientError):
        once()
    assert once.attempts == 1


def test_a_full_api_uses_up_patience_and_no_attempts() -> None:
    call = Call(*[FULL] * 100)
    with pytest.raises(OverloadError):
        call()
    assert call.waits == [1, 2, 4, 8, 16, 32, 64, 128]  # 255 s; another 256 would make more than 300
    some = Call(*[FULL] * 8)
    assert some() == "done"
    assert Call(FULL, FULL, FAULT, FULL, FAULT, FULL)() == "done"
    with pytest.raises(TransientError):
        Call(FAULT, FULL, FAULT, FULL, FAULT)()
    none = Call(FULL, patience_seconds=0)
    with pytest.raises(OverloadError):
        none()
    assert none.attempts == 1


def test_nothing_is_tried_before_the_api_says_so() -> None:
    call = Call(OverloadError("full", retry_after=30), FULL, OverloadError("full", retry_after=0.1), chance=0.5)
    assert call() == "done"
    assert call.waits == [30.5, 2.5, 4.5]
    failed = Call(TransientError("503", retry_after=7))
    assert failed() == "done"
    assert failed.waits == [7]


@pytest.mark.parametrize("error", [OverloadError("full", retry_after=301), TransientError("503", retry_after=3_600)])
def test_a_wait_beyond_patience_is_not_begun(error: ClaudeAPIError) -> None:
    call = Call(error)
    with pytest.raises(type(error)):
        call()
    assert call.attempts == 1


@pytest.mark.parametrize(
    "error",
    [
        RejectedError("400"),
        FatalAPIError("401"),
        LimiterClosed("stopping"),
        BudgetExceeded("none left"),
        RateLimitError("full", retry_after=1),
        ParseError("no JSON"),
        LedgerError("gone"),
        ConfigError("wrong"),
        ClaudeAPIError("something"),
        ConvoforgeError("something"),
        ValueError("a bug"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_other_error_is_final_at_once(error: Exception) -> None:
    call = Call(error)
    with pytest.raises(type(error)):
        call()
    assert (call.attempts, call.waits) == (1, [])


@pytest.mark.parametrize("error", [FAULT, FULL])
def test_the_error_at_hand_is_final_once_the_run_is_stopping(error: ClaudeAPIError) -> None:
    call = Call(error)
    with pytest.raises(type(error)):
        call(lambda: False)
    assert (call.attempts, call.waits) == (1, [])


def test_a_long_wait_ends_soon_after_the_run_is_told_to_stop() -> None:
    call = Call(OverloadError("full", retry_after=200), LimiterClosed("stopped by Ctrl-C"))
    questions = iter([True, True, True, True])  # one before the wait, then one a second
    with pytest.raises(LimiterClosed):
        call(lambda: next(questions, False))
    assert call.waits == [3]


def test_calls_of_one_policy_do_not_count_for_each_other() -> None:
    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    async def main() -> list[int]:
        policy = Policy(Retry(max_attempts=3), sleep=sleep)

        async def one() -> int:
            made = 0

            async def call() -> int:
                nonlocal made
                made += 1
                await asyncio.sleep(0)
                if made < 3:
                    raise FAULT
                return made

            return await policy.run(call)

        return await asyncio.gather(*(one() for _ in range(20)))

    assert asyncio.run(main()) == [3] * 20


errors = st.one_of(
    st.just(FAULT),
    st.builds(lambda seconds: OverloadError("full", retry_after=seconds), st.none() | st.floats(0, 400)),
)


@settings(deadline=None)
@given(
    st.lists(errors, max_size=15),
    st.integers(1, 5),
    st.floats(0, 10),
    st.floats(0, 60),
    st.floats(0, 600),
    st.floats(0, 5),
    st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_shorter_than_asked_and_no_rule_is_overrun(
    faults: list[ClaudeAPIError], attempts: int, base: float, most: float, patience: float, jitter: float, chance: float
) -> None:
    rule = {"base_delay_seconds": base, "max_delay_seconds": most, "patience_seconds": patience, "jitter_seconds": jitter}
    call = Call(*faults, chance=chance, max_attempts=attempts, **rule)
    try:
        call()
    except ClaudeAPIError:
        assert call.attempts <= len(faults)
    else:
        assert call.attempts == len(faults) + 1
    waited = list(zip(faults, call.waits, strict=False))
    for number, (fault, seconds) in enumerate(waited):
        backoff = min(most, base * 2**number)
        assert seconds == pytest.approx(max(backoff, fault.retry_after or 0) + chance * jitter, abs=1e-6)
    assert sum(isinstance(fault, TransientError) for fault in faults[: call.attempts]) <= attempts
    assert sum(seconds for fault, seconds in waited if isinstance(fault, OverloadError)) <= patience + 1e-6
