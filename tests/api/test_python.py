"""The Python door, in the guide's words: constructed with its configuration, awaited or blocking, priced as it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import convoforge
from convoforge import ConfigError, ConversationGenerator, ParseError, RateLimitError, Settings, SyncConversationGenerator
from convoforge.generation.requests import default_spec, open_generator
from convoforge.simulator.client import SimulatorControl

pytestmark = pytest.mark.anyio

REQUEST = {
    "templateId": "advice",
    "persona": "Anxious Investor",
    "emotion": "Fear",
    "topic": "market volatility",
    "tier": "template",
    "parameters": {},
    "temperature": 0.7,
    "maxTokens": 2048,
}
GUIDE = {"rateLimitConfig": {"windowMs": 60000, "maxRequests": 50, "enableQueue": True, "pauseThreshold": 0.9}}


@pytest.fixture
def options(simulator: SimulatorControl, tmp_path: Path) -> dict[str, Any]:
    return {"simulate": True, "settings": Settings(base_url=simulator.url, data_dir=tmp_path)}


async def test_the_guide_s_example_works_as_it_is_written(options: dict[str, Any]) -> None:
    generator = ConversationGenerator(GUIDE, **options)
    outcome = await generator.generate_single(REQUEST)
    assert outcome.conversation is not None
    assert outcome.cost_usd > 0
    status = await generator.rate_limit_status()
    assert (status.used, status.remaining) == (1, 49)
    await generator.aclose()


async def test_a_batch_answers_in_order_and_a_failure_stands_in_its_place(options: dict[str, Any]) -> None:
    async with ConversationGenerator(GUIDE, **options) as generator:
        outcomes = await generator.generate_batch([REQUEST, {**REQUEST, "templateId": "nonsense"}, REQUEST], concurrency=3)
        assert [outcome is not None and outcome.conversation is not None for outcome in outcomes] == [True, False, True]
        assert outcomes[1] is not None
        assert "Known: advice" in str(outcomes[1].error)


async def test_what_brings_no_conversation_raises_the_error_that_the_guide_names(
    options: dict[str, Any], simulator: SimulatorControl
) -> None:
    async with ConversationGenerator(GUIDE, **options) as generator:
        simulator.script("prose")
        with pytest.raises(ParseError) as raised:
            await generator.generate_single(REQUEST)
        assert raised.value.content
    limits = {"maxRequests": 1, "enableQueue": False}
    async with ConversationGenerator(rate_limit_config=limits, model="claude-haiku-5-5", **options) as generator:
        await generator.generate_single(REQUEST)
        with pytest.raises(RateLimitError) as refused:
            await generator.generate_single(REQUEST)
        assert 0 < refused.value.retry_after < 62


async def test_two_generators_share_the_rate_and_a_third_remembers_it(options: dict[str, Any]) -> None:
    limits = {"rateLimitConfig": {"maxRequests": 10, "enableQueue": False}}

    async def sent() -> int:
        async with ConversationGenerator(limits, **options) as generator:
            outcomes = await generator.generate_batch([REQUEST] * 10, concurrency=10)
            return sum(outcome is not None and outcome.conversation is not None for outcome in outcomes)

    assert sum(await asyncio.gather(sent(), sent())) == 9
    assert await sent() == 0


def test_without_an_event_loop_it_blocks(options: dict[str, Any]) -> None:
    with SyncConversationGenerator(GUIDE, **options) as generator:
        outcome = generator.generate_single(REQUEST)
        assert outcome.conversation is not None
        assert [one is not None for one in generator.generate_batch([REQUEST] * 2)] == [True, True]
        assert generator.rate_limit_status().used == 3
        now = datetime.now()  # without a zone, as people write it
        summary = generator.cost_summary(now - timedelta(days=2), now + timedelta(days=2))
        assert summary.conversations == 3
        assert summary.total_cost_usd > outcome.cost_usd
    with pytest.raises(ConfigError, match="closed"):
        generator.generate_single(REQUEST)
    generator.close()


def test_a_generator_of_another_event_loop_is_refused_before_anything_is_sent(options: dict[str, Any]) -> None:
    """It broke during the call, and was recorded as maybe billed."""
    generator = ConversationGenerator(GUIDE, **options)

    async def elsewhere() -> None:
        with pytest.raises(ConfigError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, generator.generate_single(REQUEST))
        await generator.aclose()

    async def story() -> None:
        await generator.generate_single(REQUEST)
        await elsewhere()

    asyncio.run(story())
    assert convoforge.cost_summary(settings=options["settings"], simulate=True).attempts == 1


def test_the_guide_s_price_is_exact() -> None:
    assert convoforge.calculate_cost(1500, 2000) == Decimal("0.0345")
    assert convoforge.calculate_cost(1500, 2000, model="claude-sonnet-5-5") == Decimal("0.023")
    assert convoforge.calculate_cost(0, 0) == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConversationGenerator({"rateLimitConfig": {"windowsMs": 1}}), "windowsMs"),
        (lambda: ConversationGenerator({"rateLimitConfig": {"maxRequests": 0}}), "max_requests"),
        (lambda: ConversationGenerator({"retryConfig": {}}), "retryConfig"),
        (lambda: ConversationGenerator(GUIDE, rate_limit_config=GUIDE["rateLimitConfig"]), "twice"),
        (lambda: ConversationGenerator(model="m", spec=default_spec("m")), "spec"),
        (lambda: SyncConversationGenerator({"rateLimitConfig": {"pauseThreshold": 1.5}}), "pause_threshold"),
        (lambda: convoforge.calculate_cost(-1, 0), "-1 tokens"),
        (lambda: convoforge.calculate_cost(1, 1, model="nobody's"), "nobody's"),
        (lambda: convoforge.cost_summary(date(2026, 2, 1), date(2026, 1, 1)), "not before"),
        (lambda: asyncio.run(open_generator(model="m", spec=default_spec("m")).__aenter__()), "model"),
    ],
)
def test_what_cannot_work_is_one_line(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


async def test_a_request_with_a_wrong_field_names_it(options: dict[str, Any]) -> None:
    async with ConversationGenerator(**options) as generator:
        for wrong, words in (({"persona": ""}, "persona"), ({"maxTokenz": 5}, "maxTokenz"), ({"temperature": 7}, "temperature")):
            with pytest.raises(ConfigError, match=words):
                await generator.generate_single({**REQUEST, **wrong})


def test_everything_exported_is_there() -> None:
    assert {name for name in convoforge.__all__ if getattr(convoforge, name) is None} == set()
    assert convoforge.__version__.count(".") == 2
