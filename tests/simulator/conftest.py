"""One simulator process for all tests here, as new before each of them; and the real SDK pointed at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from convoforge.parsing import ANSWER_SCHEMA
from convoforge.simulator.client import SimulatorControl

PROMPT = """Write one conversation as JSON.
Persona: Anxious Investor
Emotion: Fear
Topic: market volatility
Tier: template
Variant: {}
"""


@pytest.fixture
def control(simulator_url: str) -> SimulatorControl:
    control = SimulatorControl(simulator_url)
    control.reset()
    return control


@pytest.fixture(scope="session")
def connect() -> Callable[..., anthropic.Anthropic]:
    """The real client, without its own retries: ``connect(url, key, **options)``."""

    def connect(url: str, key: str = "sk-sim-test", **options: Any) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=url, api_key=key, **{"max_retries": 0, "timeout": 30.0, **options})

    return connect


@pytest.fixture
def client(control: SimulatorControl, connect: Callable[..., anthropic.Anthropic]) -> Iterator[anthropic.Anthropic]:
    with connect(control.url) as client:
        yield client


@pytest.fixture(scope="session")
def wanted() -> Callable[..., dict[str, Any]]:
    """What the SDK is called with for one conversation: ``wanted(variant, **changes)``."""

    def wanted(variant: object = 0, **changes: Any) -> dict[str, Any]:
        return {
            "model": "claude-sonnet-5-5",
            "max_tokens": 4096,
            "system": "You write conversations.",
            "messages": [{"role": "user", "content": PROMPT.format(variant)}],
            "output_config": {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}},
            **changes,
        }

    return wanted


@pytest.fixture
def ask(client: anthropic.Anthropic, wanted: Callable[..., dict[str, Any]]) -> Callable[..., anthropic.types.Message]:
    """One conversation, asked for and answered: ``ask(variant, **changes)``."""

    def ask(variant: object = 0, **changes: Any) -> anthropic.types.Message:
        message: anthropic.types.Message = client.messages.create(**wanted(variant, **changes))
        return message

    return ask
