"""POST /api/conversations/generate-batch: up to a hundred at once, each with its own answer or error, and a summary."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from convoforge.costs.summary import CostSummary
from convoforge.simulator.client import SimulatorControl

ROUTE = "/api/conversations/generate-batch"
ReadCosts = Callable[[], CostSummary]
Serve = Callable[..., AbstractContextManager[httpx.Client]]


def wanted(topic: str, **changes: Any) -> dict[str, Any]:
    return {
        "templateId": "advice",
        "persona": "Confident Advisor",
        "emotion": "Calm",
        "topic": topic,
        "tier": "template",
        "parameters": {},
        **changes,
    }


def test_one_failing_request_leaves_the_others_alone(serve: Serve, simulator: SimulatorControl, read_costs: ReadCosts) -> None:
    simulator.script("wrong_roles", match="estate planning")
    requests = [
        wanted("retirement planning"),
        wanted("estate planning"),
        wanted("rent", templateId="advise"),
        wanted("debt payoff"),
    ]
    with serve() as client:
        response = client.post(ROUTE, json={"requests": requests, "options": {"concurrency": 3, "stopOnError": False}})
    assert response.status_code == 201
    summary, results = response.json()["data"]["summary"], response.json()["data"]["results"]
    assert [result["status"] for result in results] == ["generated", "failed", "failed", "generated"]
    assert [result["error"] and result["error"]["type"] for result in results] == [
        None, "GenerationValidationError", "ValidationError", None,
    ]  # fmt: skip
    assert [result["data"] and result["data"]["topic"] for result in results] == [
        "retirement planning",
        None,
        None,
        "debt payoff",
    ]
    assert (summary["total"], summary["successful"], summary["failed"], summary["skipped"]) == (4, 2, 2, 0)
    assert summary["totalCost"] == float(read_costs().total_cost_usd)
    parts = [
        result["metadata"]["costUsd"] if result["metadata"] else result["error"]["details"].get("costUsd", 0)
        for result in results
    ]
    assert summary["totalCost"] == pytest.approx(sum(parts))
    assert read_costs().attempts == 3


def test_stop_on_error_skips_what_was_not_begun(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("prose", match="estate planning")
    requests = [wanted(topic) for topic in ("debt payoff", "estate planning", "rent", "pensions")]
    with serve() as client:
        response = client.post(ROUTE, json={"requests": requests, "options": {"concurrency": 1, "stopOnError": True}})
    data = response.json()["data"]
    assert [result["status"] for result in data["results"]] == ["generated", "failed", "skipped", "skipped"]
    assert {name: data["summary"][name] for name in ("successful", "failed", "skipped")} == {
        "successful": 1, "failed": 1, "skipped": 2,
    }  # fmt: skip
    assert data["results"][2] == {"status": "skipped", "data": None, "metadata": None, "error": None}
    assert len(simulator.rows()) == 2


def test_a_hundred_requests_are_a_batch_and_options_may_be_left_out(serve: Serve, read_costs: ReadCosts) -> None:
    with serve() as client:
        response = client.post(ROUTE, json={"requests": [wanted(f"topic {number}") for number in range(100)]})
    assert response.json()["data"]["summary"]["successful"] == 100
    assert [result["data"]["topic"] for result in response.json()["data"]["results"]] == [
        f"topic {number}" for number in range(100)
    ]
    assert (read_costs().attempts, read_costs().conversations) == (100, 100)


def test_names_may_be_snake_case(serve: Serve) -> None:
    body = {"requests": [wanted("x", template_id="advise") | {"max_tokens": 300}], "options": {"stop_on_error": True}}
    del body["requests"][0]["templateId"]
    with serve() as client:
        assert client.post(ROUTE, json=body).json()["data"]["results"][0]["error"]["type"] == "ValidationError"


def test_the_key_s_rate_holds_for_the_whole_batch_where_the_queue_is_off(serve: Serve) -> None:
    with serve(limits={"max_requests": 2, "queue": False}) as client:
        response = client.post(ROUTE, json={"requests": [wanted("a"), wanted("b")], "options": {"concurrency": 1}})
    first, second = response.json()["data"]["results"]
    assert first["status"] == "generated"
    assert second["error"]["type"] == "RateLimitError"
    assert 0 < second["error"]["details"]["retryAfter"] <= 61_000


@pytest.mark.parametrize(
    ("faults", "status", "kind"),
    [
        (["500", "500", "500"], 502, "ClaudeAPIError"),
        (["prose", "wrong_roles"], 502, "ParseError"),
        (["wrong_roles"], 422, "GenerationValidationError"),
    ],
)
def test_a_batch_in_which_all_failed_says_so(
    serve: Serve, simulator: SimulatorControl, faults: list[str], status: int, kind: str
) -> None:
    simulator.script(*faults)
    requests = [wanted("rent"), wanted("pensions", **({} if len(faults) == 2 else {"templateId": "advise"}))]
    with serve() as client:
        response = client.post(ROUTE, json={"requests": requests, "options": {"concurrency": 1}})
    assert response.status_code == status
    error, data = response.json()["error"], response.json()["data"]
    assert error["type"] == kind
    assert error["message"].startswith("none of the 2 requests brought a conversation")
    assert (data["summary"]["successful"], data["summary"]["failed"], error["details"]["failed"]) == (0, 2, 2)
    assert [result["status"] for result in data["results"]] == ["failed", "failed"]


def test_a_batch_that_the_rate_refuses_as_a_whole_is_told_when_to_come_back(serve: Serve) -> None:
    with serve(limits={"max_requests": 2, "queue": False}) as client:
        client.post(ROUTE, json={"requests": [wanted("a")]})
        response = client.post(ROUTE, json={"requests": [wanted("b"), wanted("c")]})
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 61


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"requests": []}, "requests: may not be empty"),
        ({"requests": [wanted("x")] * 101}, "at most 100"),
        ({"requests": wanted("x")}, "requests"),
        ({}, "requests: is missing"),
        ({"requests": [wanted("x"), wanted("x", persona=None)]}, "requests[1].persona"),
        ({"requests": [wanted("x", personna="y")]}, "did you mean 'persona'"),
        ({"requests": [wanted("x")], "options": {"concurrency": 0}}, "options.concurrency"),
        ({"requests": [wanted("x")], "options": {"concurrency": 101}}, "options.concurrency"),
        ({"requests": [wanted("x")], "options": {"stopOnErr": True}}, "did you mean 'stopOnError'"),
        ({"requests": [wanted("x")], "options": {"stopOnError": "no"}}, "options.stopOnError"),
        ({"requests": [wanted("x")], "option": {}}, "did you mean 'options'"),
    ],
)
def test_a_batch_that_cannot_work_is_refused_as_a_whole(
    client: httpx.Client, simulator: SimulatorControl, body: Any, words: str
) -> None:
    response = client.post(ROUTE, json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "ValidationError"
    assert words in error["message"]
    assert error["details"]["fields"]
    assert simulator.rows() == []
