"""Limits per minute are enforced as token buckets, and announced in the headers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import anthropic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convoforge.simulator.faults import ApiError
from convoforge.simulator.launch import simulator_process
from convoforge.simulator.rates import KINDS, RateBucket, Rates

Connect = Callable[..., anthropic.Anthropic]
Wanted = Callable[..., dict[str, Any]]


def test_more_requests_than_allowed_are_turned_away_until_later(connect: Connect, wanted: Wanted) -> None:
    with simulator_process(requests_per_minute=5) as url, connect(url) as client, connect(url, "sk-sim-other") as other:
        answers = [client.messages.with_raw_response.create(**wanted(number)).http_response for number in range(5)]
        assert [answer.headers["anthropic-ratelimit-requests-remaining"] for answer in answers] == ["4", "3", "2", "1", "0"]
        with pytest.raises(anthropic.RateLimitError, match="requests per minute") as caught:
            client.messages.create(**wanted())
        assert caught.value.type == "rate_limit_error"
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 12
        assert caught.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert other.messages.create(**wanted()).stop_reason == "end_turn"
        assert client.messages.create(**wanted(model="claude-haiku-5-5")).stop_reason == "end_turn"


def test_input_counts_before_the_answer_and_output_after_it(connect: Connect, wanted: Wanted) -> None:
    with simulator_process(input_tokens_per_minute=1000) as url, connect(url) as client:
        long = wanted(system="x" * 2250)
        answer = client.messages.with_raw_response.create(**long).http_response
        assert 100 < int(answer.headers["anthropic-ratelimit-input-tokens-remaining"]) < 250
        with pytest.raises(anthropic.RateLimitError, match="input tokens per minute"):
            client.messages.create(**long)
    with simulator_process(output_tokens_per_minute=60) as url, connect(url) as client:
        assert client.messages.create(**wanted()).usage.output_tokens > 5
        with pytest.raises(anthropic.RateLimitError, match="output tokens per minute") as caught:
            client.messages.create(**wanted())
        assert int(caught.value.response.headers["retry-after"]) > 0


def test_without_limits_something_large_is_announced(client: anthropic.Anthropic, wanted: Wanted) -> None:
    headers = client.messages.with_raw_response.create(**wanted()).http_response.headers
    for kind in KINDS:
        assert int(headers[f"anthropic-ratelimit-{kind}-limit"]) >= 1_000_000
        assert headers[f"anthropic-ratelimit-{kind}-remaining"] == headers[f"anthropic-ratelimit-{kind}-limit"]
        assert datetime.fromisoformat(headers[f"anthropic-ratelimit-{kind}-reset"]).tzinfo is not None


def test_a_reset_is_announced_for_when_the_bucket_is_full_again() -> None:
    rates = Rates((60, None, None), wall=lambda: 1_800_000_000.0)
    for _ in range(30):
        rates.admit("key", "model", 10, 0.0)
    assert rates.make_headers("key", "model", 0.0)["anthropic-ratelimit-requests-reset"] == "2027-01-15T08:00:30Z"
    assert rates.make_headers("key", "model", 30.0)["anthropic-ratelimit-requests-remaining"] == "60"


def test_cached_input_needs_no_room() -> None:
    rates = Rates((None, 1000, None), wall=lambda: 0.0)
    for _ in range(100):
        rates.admit("key", "model", 0, 0.0)
    rates.admit("key", "model", 1000, 0.0)
    with pytest.raises(ApiError):
        rates.admit("key", "model", 1, 0.0)


def test_a_request_larger_than_the_limit_passes_when_the_bucket_is_full() -> None:
    rates = Rates((None, 1000, None), wall=lambda: 0.0)
    rates.admit("key", "model", 5000, 0.0)
    with pytest.raises(ApiError) as caught:
        rates.admit("key", "model", 1, 0.0)
    assert caught.value.retry_after == 241


@given(st.integers(1, 100), st.lists(st.tuples(st.floats(0, 50), st.integers(1, 10)), max_size=200))
def test_a_bucket_never_gives_more_than_its_limit_and_what_flowed_back(limit: int, calls: list[tuple[float, int]]) -> None:
    bucket, now, taken = RateBucket(limit, 0.0), 0.0, 0
    for pause, amount in calls:
        now += pause
        if bucket.wait(amount, now) == 0:
            bucket.take(amount, now)
            taken += amount
        assert taken <= limit + now * limit / 60 + 10 + 1e-6


@example(8, [1, 1, 7, 1, 6])
@given(st.integers(1, 100), st.lists(st.integers(1, 30), min_size=1, max_size=30))
def test_after_the_wait_that_was_told_a_request_is_let_in(limit: int, amounts: list[int]) -> None:
    rates, now = Rates((None, limit, None), wall=lambda: 0.0), 0.0
    for amount in amounts:
        try:
            rates.admit("key", "model", amount, now)
        except ApiError as error:
            assert error.retry_after is not None
            now += error.retry_after
            rates.admit("key", "model", amount, now)
