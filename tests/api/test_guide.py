"""The code examples and the manual tests of the seed's guide, in its order and with its values; TypeScript's `fetch` is httpx here.

What it shows elsewhere: its error types and status codes in `test_generate_route.py`, its rubric in `tests/scoring/`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from convoforge import ConversationGenerator, Settings, calculate_cost, cost_summary
from convoforge.ledger import Ledger
from convoforge.simulator.client import SimulatorControl

SINGLE, BATCH = "/api/conversations/generate", "/api/conversations/generate-batch"
Serve = Callable[..., AbstractContextManager[httpx.Client]]


def test_single_and_batch_generation_and_the_rate_limit_status(serve: Serve) -> None:
    with serve(limits={"max_requests": 50}) as client:
        ids = {template["name"]: template["id"] for template in client.get("/api/templates").json()["data"]}
        response = client.post(
            SINGLE,
            json={
                "templateId": ids["advice"],
                "persona": "Anxious Investor",
                "emotion": "Fear",
                "topic": "market volatility",
                "tier": "template",
                "parameters": {"scenario": "market_downturn", "complexity": "medium"},
                "temperature": 0.7,
                "maxTokens": 2048,
            },
        )
        assert response.status_code == 201
        result = response.json()
        assert result["data"]["turns"]
        assert {"qualityScore", "costUsd", "durationMs"} <= set(result["metadata"])

        one = {"persona": "Anxious Investor", "emotion": "Fear", "topic": "retirement planning", "tier": "template"}
        two = {"persona": "Confident Advisor", "emotion": "Calm", "topic": "portfolio diversification", "tier": "scenario"}
        requests = [
            {"templateId": ids["advice"], **one, "parameters": {}},
            {"templateId": ids["advice-scenario"], **two, "parameters": {}},
        ]
        response = client.post(BATCH, json={"requests": requests, "options": {"concurrency": 3, "stopOnError": False}})
        assert response.status_code == 201
        summary = response.json()["data"]["summary"]
        assert (summary["successful"], summary["total"]) == (2, 2)
        assert f"${summary['totalCost']:.2f}" != "$0.00"

        status = client.get(SINGLE).json()["data"]
        assert (status["used"], status["remaining"], status["queueLength"], status["isPaused"]) == (3, 47, 0, False)
        assert datetime.fromisoformat(status["resetAt"]) > datetime.now(UTC)


@pytest.mark.anyio
async def test_programmatic_usage_with_a_custom_rate_limit(
    simulator: SimulatorControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-...")
    monkeypatch.setenv("ANTHROPIC_API_BASE_URL", f"{simulator.url}/v1")
    monkeypatch.setenv("ANTHROPIC_MODEL", "claude-sonnet-5-5")  # the guide's is retired, and refused
    custom = {"windowMs": 120000, "maxRequests": 100, "enableQueue": True, "pauseThreshold": 0.85}
    settings = Settings(data_dir=tmp_path)
    async with ConversationGenerator({"rateLimitConfig": custom}, simulate=True, settings=settings) as generator:
        conversation = await generator.generate_single(
            {
                "templateId": "advice",
                "persona": "Anxious Investor",
                "emotion": "Fear",
                "topic": "market volatility",
                "tier": "template",
                "parameters": {},
            }
        )
        status = await generator.rate_limit_status()
        assert f"{status.remaining} requests remaining" == "99 requests remaining"
    assert conversation.model == "claude-sonnet-5-5"
    assert (conversation.quality.score >= 6) is (conversation.status == "accepted")
    today = datetime.now(UTC).date()
    summary = cost_summary(date(2025, 1, 1), date(today.year + 1, 1, 31), settings=settings, simulate=True)
    assert summary.total_cost_usd == conversation.cost_usd == summary.cost_per_request_usd
    assert cost_summary(date(2025, 1, 1), date(2025, 1, 31), settings=settings, simulate=True).total_cost_usd == 0


def test_manual_test_1_of_20_simultaneous_requests_all_succeed_and_some_are_queued(serve: Serve) -> None:
    body = {"templateId": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": "market volatility"}
    with serve(limits={"max_requests": 10, "window_seconds": 2}) as client, ThreadPoolExecutor(20) as callers:
        promises = [callers.submit(client.post, SINGLE, json=body) for _ in range(20)]
        queued = 0
        while not all(promise.done() for promise in promises):
            queued = max(queued, client.get(SINGLE).json()["data"]["queueLength"])
    assert [promise.result().status_code for promise in promises] == [201] * 20
    assert queued > 0


def test_manual_test_2_a_failing_api_is_tried_3_times_with_exponential_backoff(
    serve: Serve, simulator: SimulatorControl, settings: Settings
) -> None:
    """An invalid key is tried once: the guide's own table says so of 401. What is tried three times are failures of the server."""
    body = {"templateId": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": "market volatility"}
    simulator.script("500", "500", "500", "401")
    with serve(retry={"base_delay_seconds": 0.4}) as client:
        assert client.post(SINGLE, json=body).status_code == 502
        refused = client.post(SINGLE, json=body)
        assert (refused.status_code, refused.json()["error"]["details"]["attempts"]) == (502, 1)
    with Ledger(settings.database_url) as ledger:
        query = "SELECT started_at FROM generation_logs WHERE http_status = 500 ORDER BY attempt"
        times = [
            datetime.fromisoformat(row[0]) for row in ledger.read(lambda connection: connection.exec_driver_sql(query).all())
        ]
    first, second = ((later - earlier).total_seconds() for earlier, later in itertools.pairwise(times))
    assert len(times) == 3
    assert first >= 0.4 and second >= 0.8


def test_manual_test_3_cost_calculation_is_correct() -> None:
    cost = calculate_cost(1500, 2000)
    assert abs(float(cost) - 0.0345) < 0.0001
