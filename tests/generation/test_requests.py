"""The Python class: one conversation or up to a hundred, with score, cost and a typed error, and every call in the ledger."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import convoforge
from convoforge import ConversationRequest, open_generator
from convoforge.costs.summary import CostSummary, cost_summary
from convoforge.errors import (
    BudgetExceeded,
    ConfigError,
    FatalAPIError,
    GenerationValidationError,
    LimiterClosed,
    ParseError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from convoforge.flows.generate_requests import summarize
from convoforge.generation.requests import RequestGenerator, default_spec
from convoforge.ledger import Ledger
from convoforge.ledger.rate_limiter import seconds_to_send
from convoforge.models import AnswerKind, Status
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = pytest.mark.anyio

MODEL = "claude-sonnet-5-5"
FAST = {"retry": {"base_delay_seconds": 0.01, "jitter_seconds": 0.0, "timeout_seconds": 5}}
Opened = AbstractAsyncContextManager[RequestGenerator]


@pytest.fixture(scope="module")
def simulator_url(_own_environment: None) -> Iterator[str]:
    with simulator_process(latency_ms=20) as url:
        yield url


@pytest.fixture
def settings(simulator: SimulatorControl, tmp_path: Path) -> Settings:
    return Settings(base_url=simulator.url, data_dir=tmp_path)


@pytest.fixture
def generator(settings: Settings) -> Callable[..., Opened]:
    """Opens generators whose spec has some values changed."""

    def make(model: str = MODEL, **changes: Any) -> Opened:
        spec = change_spec(default_spec(model), **{**FAST, "limits": {"max_requests": 10_000}, **changes})
        return open_generator(settings=settings, simulate=True, spec=spec)

    return make


def request(topic: str = "market volatility", **changes: Any) -> ConversationRequest:
    values = {"template": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": topic}
    return ConversationRequest(**{**values, **changes})


def costs(settings: Settings) -> CostSummary:
    with Ledger(settings.database_url) as ledger:
        return ledger.read(cost_summary, provider="simulator")


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with Ledger(settings.database_url) as ledger:
        return [tuple(row) for row in ledger.read(lambda connection: connection.execute(text(query)).all())]


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


# --- one request ---


async def test_a_request_becomes_a_scored_and_priced_conversation(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    async with generator() as opened:
        outcome = await opened.generate(request())
    assert (outcome.status, outcome.kind, outcome.error, outcome.attempts) == (Status.ACCEPTED, AnswerKind.OK, None, 1)
    assert outcome.conversation is not None and outcome.quality is not None
    assert [turn.role for turn in outcome.conversation.turns[:2]] == ["user", "assistant"]
    quality = outcome.quality
    assert quality.score == sum(one.points or 0 for one in quality.results) >= 6
    assert outcome.provider == "simulator"
    assert outcome.duration_ms >= 20
    assert outcome.finished_at is not None and outcome.api_request_id is not None and outcome.conversation_id is not None
    billed = simulator.usage()["billed_delivered"]
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (billed["input_tokens"], billed["output_tokens"])
    price = Decimal(2) * outcome.usage.input_tokens + Decimal(10) * outcome.usage.output_tokens
    assert outcome.cost_usd == price / 1_000_000
    booked = costs(settings)
    assert (booked.attempts, booked.accepted, booked.total_cost_usd) == (1, 1, outcome.cost_usd)


async def test_two_identical_requests_are_two_conversations(
    generator: Callable[..., Opened], simulator: SimulatorControl
) -> None:
    async with generator() as opened:
        first, second = await asyncio.gather(opened.generate(request()), opened.generate(request()))
    assert first.conversation_id != second.conversation_id
    assert simulator.usage()["billed_delivered"]["requests"] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"template": "advise"}, "did you mean 'advice'"),
        ({"template": "../advice"}, "unknown template"),
        ({"tier": "edge_case"}, "not the tier 'edge_case'"),
        ({"parameters": {"complexty": "low"}}, "did you mean 'complexity'"),
        ({"parameters": {"complexity": "extreme"}}, "takes .*medium"),
    ],
)
async def test_a_request_that_cannot_work_is_refused_before_anything_is_sent(
    generator: Callable[..., Opened], simulator: SimulatorControl, changes: dict[str, Any], words: str
) -> None:
    async with generator() as opened:
        with pytest.raises(ConfigError, match=words):
            await opened.generate(request(**changes))
    assert simulator.rows() == []


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        ("wrong_roles", GenerationValidationError, AnswerKind.INVALID),
        ("prose", ParseError, AnswerKind.PARSE_ERROR),
        ("truncation", GenerationValidationError, AnswerKind.TRUNCATED),
        ("refusal", GenerationValidationError, AnswerKind.REFUSED),
    ],
)
async def test_an_answer_without_a_conversation_says_why_and_what_it_cost(
    generator: Callable[..., Opened],
    settings: Settings,
    simulator: SimulatorControl,
    fault: str,
    error: type[Exception],
    kind: AnswerKind,
) -> None:
    simulator.script(fault)
    async with generator() as opened:
        outcome = await opened.generate(request())
    assert (outcome.status, outcome.kind, type(outcome.error)) == (Status.DROPPED, kind, error)
    assert outcome.conversation is None and outcome.reason
    assert outcome.cost_usd == costs(settings).total_cost_usd > 0


async def test_a_passing_fault_is_tried_again_and_each_attempt_is_in_the_ledger(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    simulator.script("500", {"kind": "429", "retry_after": 0.05}, "ok")
    async with generator() as opened:
        outcome = await opened.generate(request())
    assert (outcome.status, outcome.attempts) == (Status.ACCEPTED, 3)
    booked = costs(settings)
    assert (booked.attempts, booked.succeeded, booked.failed, booked.retries) == (3, 1, 2, 2)


async def test_a_lasting_fault_ends_in_its_error_after_three_attempts(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    simulator.script("500", "502", "503")
    async with generator() as opened:
        outcome = await opened.generate(request())
    assert (outcome.status, type(outcome.error), outcome.attempts) == (Status.PENDING, TransientError, 3)
    assert (costs(settings).attempts, costs(settings).total_cost_usd) == (3, 0)


async def test_a_temperature_that_the_model_does_not_take_is_recorded_as_not_applied(
    generator: Callable[..., Opened], settings: Settings
) -> None:
    async with generator() as opened:
        await opened.generate(request(temperature=0.7))
    async with generator("claude-haiku-4-5") as opened:
        await opened.generate(request(temperature=0.7))
    assert rows(settings, "SELECT temperature, temperature_applied FROM answers ORDER BY request_id") == [(0.7, 0), (0.7, 1)]


async def test_a_request_may_shorten_the_answer(generator: Callable[..., Opened]) -> None:
    async with generator() as opened:
        outcome = await opened.generate(request(max_tokens=256))
    assert outcome.kind is AnswerKind.TRUNCATED
    assert outcome.usage.output_tokens <= 256


# --- batches ---


async def test_a_batch_answers_in_the_order_asked(generator: Callable[..., Opened], simulator: SimulatorControl) -> None:
    simulator.script("wrong_roles", match="estate planning")
    topics = ["market volatility", "estate planning", "debt payoff", "college savings"]
    asked = [request(topic) for topic in topics]
    asked.insert(2, request(template="advise"))
    async with generator() as opened:
        outcomes = await opened.generate_batch(asked, concurrency=5)
    errors = [type(outcome.error) if outcome and outcome.error else None for outcome in outcomes]
    assert errors == [None, GenerationValidationError, ConfigError, None, None]
    assert all(outcome is not None for outcome in outcomes)
    summary = summarize(outcomes)
    assert (summary.total, summary.successful, summary.failed, summary.skipped) == (5, 3, 2, 0)
    assert Decimal(summary.total_cost_usd) == sum((one.cost_usd for one in outcomes if one), Decimal(0))
    assert list(summary.reasons) == [1, 2]
    assert len(set(summary.conversation_ids)) == 3


async def test_stop_on_error_begins_nothing_new_after_the_first_failure(
    generator: Callable[..., Opened], simulator: SimulatorControl
) -> None:
    simulator.script("prose", match="estate planning")
    async with generator() as opened:
        outcomes = await opened.generate_batch(
            [request(topic) for topic in ("debt payoff", "estate planning", "rent", "pensions")],
            concurrency=1,
            stop_on_error=True,
        )
    assert [outcome and outcome.status for outcome in outcomes] == [Status.ACCEPTED, Status.DROPPED, None, None]
    assert len(simulator.rows()) == 2
    assert (summarize(outcomes).failed, summarize(outcomes).skipped) == (1, 2)


async def test_stop_on_error_lets_those_under_way_finish(generator: Callable[..., Opened], simulator: SimulatorControl) -> None:
    asked = [request(template="advise"), *(request(f"topic {number}") for number in range(5))]
    async with generator() as opened:
        outcomes = await opened.generate_batch(asked, concurrency=3, stop_on_error=True)
    assert [outcome and outcome.status for outcome in outcomes] == [
        Status.FAILED,
        Status.ACCEPTED,
        Status.ACCEPTED,
        None,
        None,
        None,
    ]


async def test_a_batch_never_has_more_under_way_than_it_may(settings: Settings) -> None:
    with simulator_process(latency_ms=100) as url:
        slow = settings.model_copy(update={"base_url": url})
        async with open_generator(settings=slow, simulate=True) as opened:
            begun = time.monotonic()
            outcomes = await opened.generate_batch([request(f"topic {n}") for n in range(6)], concurrency=2)
            seconds = time.monotonic() - begun
        arrived = sorted(row["arrived_monotonic"] for row in SimulatorControl(url).rows())
    assert all(outcome and outcome.status is Status.ACCEPTED for outcome in outcomes)
    assert seconds >= 0.3  # three rounds of two
    assert all(third - first >= 0.09 for first, third in zip(arrived, arrived[2:], strict=False))


@pytest.mark.parametrize(("count", "concurrency"), [(0, 3), (101, 3), (1, 0)])
async def test_a_batch_of_a_wrong_size_is_refused(generator: Callable[..., Opened], count: int, concurrency: int) -> None:
    async with generator() as opened:
        with pytest.raises(ConfigError):
            await opened.generate_batch([request()] * count, concurrency=concurrency)


# --- rate and budget ---


async def test_the_rate_status_counts_what_was_sent(generator: Callable[..., Opened]) -> None:
    async with generator(limits={"max_requests": 50}) as opened:
        before = opened.status()
        await opened.generate(request())
        after = opened.status()
    assert (before.used, before.remaining, before.reset_at, before.is_paused) == (0, 50, None, False)
    assert (after.used, after.remaining, after.queue_length, after.is_paused) == (1, 49, 0, False)
    assert after.reset_at is not None


async def test_with_the_queue_off_a_request_too_many_is_told_when_to_come_back(generator: Callable[..., Opened]) -> None:
    async with generator(limits={"max_requests": 2, "queue": False}) as opened:
        await opened.generate(request())
        outcome = await opened.generate(request())
    assert isinstance(outcome.error, RateLimitError)
    assert 0 < outcome.error.retry_after <= 60 + seconds_to_send(60)
    assert outcome.status is Status.PENDING


async def test_a_call_that_does_not_fit_the_budget_is_not_sent_and_a_smaller_one_still_is(
    generator: Callable[..., Opened], simulator: SimulatorControl
) -> None:
    async with generator(budget={"day_usd": 0.05}) as opened:
        large = await opened.generate(request(max_tokens=21_000))  # might cost $0.21
        small = await opened.generate(request(max_tokens=2048))
        assert opened.stopped is None
    assert (large.status, type(large.error)) == (Status.PENDING, BudgetExceeded)
    assert "day budget" in large.reason
    assert small.status is Status.ACCEPTED
    assert len(simulator.rows()) == 1


async def test_the_day_s_budget_holds_over_restarts(generator: Callable[..., Opened], settings: Settings) -> None:
    outcomes = []
    for _ in range(4):
        async with generator(budget={"day_usd": 0.05}) as opened:
            outcomes += await opened.generate_batch([request(max_tokens=1500)] * 2)
    spent = costs(settings).total_cost_usd
    assert 0 < spent <= Decimal("0.05")
    assert any(outcome and isinstance(outcome.error, BudgetExceeded) for outcome in outcomes)


# --- many callers, one generator ---


async def test_refusals_of_one_caller_do_not_stop_the_others(
    generator: Callable[..., Opened], simulator: SimulatorControl
) -> None:
    simulator.script(*["400"] * 12, match="crypto")
    async with generator() as opened:
        refused = await opened.generate_batch([request("crypto")] * 12, concurrency=1)
        other = await opened.generate(request())
    assert {type(outcome.error) for outcome in refused if outcome} == {RejectedError}
    assert other.status is Status.ACCEPTED


async def test_after_doom_nothing_is_sent_for_a_while(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    simulator.script("402")
    async with generator() as opened:
        fatal = await opened.generate(request())
        after = await opened.generate(request())
        assert opened.stopped is None and "402" in str(opened.refusal())
    assert isinstance(fatal.error, FatalAPIError)
    assert isinstance(after.error, LimiterClosed)
    assert len(simulator.rows()) == 1
    assert rows(settings, "SELECT state FROM runs") == [("failed",)]


async def test_a_caller_who_leaves_takes_back_a_request_that_waits(
    generator: Callable[..., Opened], simulator: SimulatorControl
) -> None:
    async with generator(limits={"max_requests": 2}) as opened:
        await opened.generate(request())
        waiting = asyncio.create_task(opened.generate(request()))
        await eventually(lambda: opened.status().queue_length == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert opened.status().queue_length == 0
    assert len(simulator.rows()) == 1


async def test_a_call_whose_caller_left_is_recorded_and_scored(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    async with generator() as opened:
        calling = asyncio.create_task(opened.generate(request()))
        await eventually(lambda: len(simulator.rows()) == 1)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    booked = costs(settings)
    assert (booked.attempts, booked.succeeded, booked.maybe_billed, booked.accepted) == (1, 1, 0, 1)


async def test_closing_lets_calls_in_flight_finish_and_sends_nothing_new(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    simulator.script("ok", "500")
    async with generator(limits={"max_requests": 4}, retry={"base_delay_seconds": 60}) as opened:  # three may go at once
        calling = asyncio.create_task(opened.generate(request()))
        await eventually(lambda: len(simulator.rows()) == 1)
        retrying = asyncio.create_task(opened.generate(request()))
        await eventually(lambda: len(simulator.rows()) == 2)
        filling = asyncio.create_task(opened.generate(request()))
        waiting = asyncio.create_task(opened.generate(request()))
        await eventually(lambda: (opened.status().used, opened.status().queue_length) == (3, 2))
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    assert [(await task).status for task in (calling, filling)] == [Status.ACCEPTED] * 2
    for task in (retrying, waiting):
        assert isinstance((await task).error, LimiterClosed)
    assert isinstance((await opened.generate(request())).error, LimiterClosed)
    assert rows(settings, "SELECT state, count(*) FROM requests GROUP BY state ORDER BY state") == [
        ("held", 2),
        ("pending", 1),
    ]  # what was never sent leaves no row
    assert rows(settings, "SELECT count(*) FROM owners") == [(0,)]
    assert rows(settings, "SELECT state, message FROM runs") == [("completed", "2 generated")]


async def test_a_call_that_outlasts_the_grace_is_kept_as_maybe_billed(
    generator: Callable[..., Opened], settings: Settings, simulator: SimulatorControl
) -> None:
    simulator.script("hang")
    async with generator() as opened:
        calling = asyncio.create_task(opened.generate(request()))
        await eventually(lambda: len(simulator.rows()) == 1)
        opened.stop("enough")
        await opened.drain(0.1)
        with pytest.raises(asyncio.CancelledError):
            await calling
    booked = costs(settings)
    assert (booked.attempts, booked.succeeded, booked.maybe_billed) == (1, 0, 1)
    assert rows(settings, "SELECT state FROM requests") == [("pending",)]


async def test_the_lease_is_renewed_while_the_generator_is_open(
    generator: Callable[..., Opened], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.generation.run.RENEW_SECONDS", 0.05)
    lease = "SELECT lease_until FROM owners"
    async with generator():
        first = rows(settings, lease)
        await eventually(lambda: rows(settings, lease) > first)


# --- opening ---


async def test_without_a_key_a_generator_says_how_to_try_it_without(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        async with open_generator(settings=settings):
            pass


async def test_a_simulator_is_never_taken_for_the_api(settings: Settings, simulator: SimulatorControl) -> None:
    real = Settings(base_url=settings.base_url, data_dir=settings.data_dir, api_key="sk-real")
    with pytest.raises(FatalAPIError, match="simulator"):
        async with open_generator(settings=real):
            pass
    assert rows(settings, "SELECT count(*) FROM owners") == [(0,)]


async def test_whatever_a_spec_is_called_its_requests_are_ad_hoc(generator: Callable[..., Opened], settings: Settings) -> None:
    async with generator(name="somebodys-dataset") as opened:
        await opened.generate(request())
    assert rows(settings, "SELECT name, provider FROM datasets") == [("adhoc", "simulator")]


async def test_only_a_request_makes_a_run(generator: Callable[..., Opened], settings: Settings) -> None:
    ended = "SELECT state, message FROM runs"
    async with generator() as opened:
        await opened.check()
        with pytest.raises(ConfigError):
            await opened.generate(request(template="none"))
    assert rows(settings, ended) == []
    async with generator() as opened:
        await asyncio.gather(opened.generate(request()), opened.generate(request()), opened.generate_batch([request()]))
        assert rows(settings, ended) == [("running", None)]
    assert rows(settings, ended) == [("completed", "3 generated")]


def test_the_package_offers_class_request_and_errors_and_is_light_to_import() -> None:
    for name in set(convoforge.__all__) - {"__version__"}:
        assert getattr(convoforge, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = convoforge.nothing
    heavy = "{'anthropic', 'prefect', 'sqlalchemy', 'pydantic', 'fastapi', 'rich'}"
    found = subprocess.check_output(
        [sys.executable, "-c", f"import sys, convoforge; print({heavy} & set(sys.modules))"], text=True
    )
    assert found.strip() == "set()"
