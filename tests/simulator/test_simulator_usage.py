"""The simulator's usage is what its clients were told."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import anthropic

from convoforge.claude import read_usage
from convoforge.models import Usage
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

Ask = Callable[..., anthropic.types.Message]
Connect = Callable[..., anthropic.Anthropic]
Wanted = Callable[..., dict[str, Any]]


def test_the_usage_equals_the_sum_of_what_clients_were_told(wanted: Wanted) -> None:
    rates = {
        "429": 0.05,
        "529": 0.05,
        "500": 0.05,
        "reset": 0.05,
        "truncation": 0.05,
        "refusal": 0.05,
        "html": 0.05,
        "short": 0.05,
    }
    told: list[tuple[str, Usage]] = []
    outcomes: Counter[str] = Counter()

    async def play(url: str) -> None:
        async with anthropic.AsyncAnthropic(
            base_url=url, api_key="sk-sim-a", max_retries=0, http_client=anthropic.DefaultAioHttpClient()
        ) as client:
            await asyncio.gather(*(call(client, number) for number in range(300)))

    async def call(client: anthropic.AsyncAnthropic, number: int) -> None:
        model = ("claude-sonnet-5-5", "claude-haiku-5-5")[number % 2]
        system = [{"type": "text", "text": "Guidance. " * 300, "cache_control": {"type": "ephemeral"}}]
        try:
            answer = await client.messages.create(**wanted(number, model=model, system=system))
        except anthropic.APIStatusError as error:
            outcomes[str(error.status_code)] += 1
        except anthropic.APIConnectionError:
            outcomes["reset"] += 1
        else:
            if isinstance(answer, str):  # the SDK hands on a page that is no JSON as it is
                outcomes["html"] += 1
            else:
                told.append((model, read_usage(answer.usage.model_dump())))

    with simulator_process(fault_rate=rates, latency_ms=5, jitter_ms=5, seed=3) as url:
        asyncio.run(play(url))
        found, rows = SimulatorControl(url).usage(), SimulatorControl(url).rows()

    delivered = found["billed_delivered"]
    assert as_usage(delivered) == sum(usage for _, usage in told)
    assert delivered["requests"] == len(told)
    for model, line in delivered["models"].items():
        assert as_usage(line) == sum(usage for name, usage in told if name == model)
        assert line["requests"] == sum(name == model for name, _ in told)
    assert found["billed_undelivered"]["requests"] == outcomes["reset"] > 0
    assert found["requests"] == 300 == len(rows)
    assert outcomes == {kind: found["outcomes"][kind] for kind in outcomes}
    assert len(told) == sum(found["outcomes"][kind] for kind in ("ok", "truncation", "refusal", "short"))
    assert as_usage(delivered) == sum(as_usage(row["usage"]) for row in rows if row["delivered"])
    assert sum(row["billed"] for row in rows) == delivered["requests"] + outcomes["reset"]
    assert min(delivered["cache_read_input_tokens"], delivered["cache_creation_input_tokens"]) > 0


def test_each_request_is_listed_with_its_id_time_status_and_key(
    control: SimulatorControl, connect: Connect, wanted: Wanted
) -> None:
    control.script("ok", "529")
    before = time.time()
    with connect(control.url, "sk-sim-first") as first, connect(control.url, "sk-sim-second") as second:
        message = first.messages.create(**wanted())
        try:
            second.messages.create(**wanted())
        except anthropic.OverloadedError as error:
            refused = error
    answered, failed = control.rows()
    assert answered["request_id"] == message._request_id
    assert failed["request_id"] == refused.request_id
    assert (answered["status"], answered["outcome"], answered["billed"], answered["delivered"]) == (200, "ok", True, True)
    assert (failed["status"], failed["outcome"], failed["billed"], failed["delivered"]) == (529, "529", False, False)
    assert answered["key"] == hashlib.sha256(b"sk-sim-first").hexdigest()[:6] != failed["key"]
    assert before - 1 < answered["arrived_at"] <= failed["arrived_at"] < time.time() + 1
    assert 0 < failed["arrived_monotonic"] - answered["arrived_monotonic"] < 60
    assert answered["model"] == "claude-sonnet-5-5"
    assert as_usage(answered["usage"]) == read_usage(message.usage.model_dump())


def test_nothing_is_billed_at_the_start(control: SimulatorControl) -> None:
    found = control.usage()
    assert (found["requests"], found["outcomes"]) == (0, {})
    assert found["billed_delivered"] == found["billed_undelivered"]
    assert found["billed_delivered"]["requests"] == found["billed_delivered"]["input_tokens"] == 0


def as_usage(line: dict[str, Any]) -> Usage:
    return Usage(
        line["input_tokens"],
        line["output_tokens"],
        line["cache_read_input_tokens"],
        line["ephemeral_5m_input_tokens"],
        line["ephemeral_1h_input_tokens"],
        line["thinking_tokens"],
    )
