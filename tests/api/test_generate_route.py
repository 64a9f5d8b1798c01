"""POST and GET /api/conversations/generate: one conversation with its score and cost, or an error that says what to do."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from convoforge.api.app import make_app
from convoforge.costs.summary import CostSummary
from convoforge.generation.requests import default_spec
from convoforge.ledger import Ledger
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

ROUTE = "/api/conversations/generate"
ReadCosts = Callable[[], CostSummary]
Serve = Callable[..., AbstractContextManager[httpx.Client]]
ServeApp = Callable[[FastAPI], AbstractContextManager[httpx.Client]]


def wanted(topic: str = "market volatility", **changes: Any) -> dict[str, Any]:
    """A request as the seed's guide writes it."""
    return {
        "templateId": "advice",
        "persona": "Anxious Investor",
        "emotion": "Fear",
        "topic": topic,
        "tier": "template",
        "parameters": {"complexity": "medium"},
        **changes,
    }


def error_of(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "details"}
    error: dict[str, Any] = body["error"]
    return error


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_seed_s_request_brings_a_conversation_with_score_and_cost(
    serve: Serve, simulator: SimulatorControl, read_costs: ReadCosts
) -> None:
    with serve() as client:
        response = client.post(ROUTE, json=wanted(temperature=0.7, maxTokens=2048))
    assert response.status_code == 201
    data, metadata = response.json()["data"], response.json()["metadata"]
    assert [turn["role"] for turn in data["turns"][:2]] == ["user", "assistant"]
    assert (data["templateId"], data["persona"], data["tier"]) == ("advice", "Anxious Investor", "template")
    assert metadata["status"] == "generated"
    breakdown = metadata["qualityBreakdown"]
    assert metadata["qualityScore"] == breakdown["turns"] + breakdown["length"] + breakdown["structure"] >= 6
    billed = simulator.usage()["billed_delivered"]
    assert (metadata["inputTokens"], metadata["outputTokens"]) == (billed["input_tokens"], billed["output_tokens"])
    assert metadata["costUsd"] == pytest.approx((2 * billed["input_tokens"] + 10 * billed["output_tokens"]) / 1e6)
    assert metadata["costUsd"] == float(read_costs().total_cost_usd)
    assert metadata["durationMs"] >= 20
    assert (metadata["provider"], metadata["model"], metadata["attempts"]) == ("simulator", "claude-sonnet-5-5", 1)
    assert datetime.now(UTC) - datetime.fromisoformat(metadata["generatedAt"]) < timedelta(minutes=1)


def test_a_temperature_is_recorded_as_not_applied_where_the_model_takes_none(serve: Serve, settings: Settings) -> None:
    with serve() as client:
        assert client.post(ROUTE, json=wanted(temperature=0.7)).json()["metadata"]["temperatureApplied"] is False
        assert client.post(ROUTE, json=wanted()).json()["metadata"]["temperatureApplied"] is None
    with Ledger(settings.database_url) as ledger:
        query = text("SELECT temperature, temperature_applied FROM answers ORDER BY request_id")
        assert [tuple(row) for row in ledger.read(lambda c: c.execute(query).all())] == [(0.7, 0), (None, 0)]


@pytest.mark.parametrize("name", ["templateId", "template_id", "template"])
def test_names_may_be_camel_case_or_snake_case(serve: Serve, name: str) -> None:
    body = {name: "advice", "persona": "A Nurse", "emotion": "Calm", "topic": "rent", "max_tokens": 256}
    with serve() as client:
        response = client.post(ROUTE, json=body)
    assert response.status_code == 422  # cut off at 256 tokens: so the limit was heeded
    assert error_of(response)["details"]["stop_reason"] == "max_tokens"


def test_a_template_is_named_by_its_name_or_its_id(serve: Serve) -> None:
    with serve() as client:
        known = {one["name"]: one for one in client.get("/api/templates").json()["data"]}
        response = client.post(ROUTE, json=wanted(templateId=known["advice"]["id"]))
        unknown = client.post(ROUTE, json=wanted(templateId="3f2a9c01-0000-4000-8000-000000000000"))
    assert response.status_code == 201
    assert response.json()["data"]["templateId"] == known["advice"]["id"]
    assert known["advice"]["tiers"] == ["template"] and "complexity" in known["advice"]["parameters"]
    assert unknown.status_code == 400
    assert "Known: advice, advice-edge, advice-scenario, support" in error_of(unknown)["message"]


def test_a_poor_conversation_needs_revision(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("short")
    with serve() as client:
        response = client.post(ROUTE, json=wanted())
    assert response.status_code == 201
    metadata = response.json()["metadata"]
    assert metadata["status"] == "needs_revision"
    assert metadata["qualityScore"] < 6
    assert metadata["qualityBreakdown"]["reasons"]


# --- 400: what was asked for cannot work ---


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (wanted(templateId="advise"), "did you mean 'advice'"),
        (wanted(tier="edge_case"), "not the tier 'edge_case'"),
        (wanted(parameters={"complexty": "low"}), "did you mean 'complexity'"),
        (wanted(parameters={"complexity": "extreme"}), "'extreme'"),
        (wanted(parameters={"complexity": ["low"]}), "parameters.complexity"),
        (wanted(persona="x" * 201), "persona"),
        (wanted(persona=" "), "persona"),
        (wanted(persona=7), "persona"),
        (wanted(persona="a\x00b"), "persona"),
        (wanted(temperature=1.5), "temperature"),
        (wanted(temperature="0.7"), "temperature"),
        (wanted(maxTokens=True), "maxTokens"),
        (wanted(maxTokens=100_000), "maxTokens"),
        (wanted(maxTokns=1000), "did you mean 'maxTokens'"),
        ({}, "templateId: is missing"),
        ([wanted()], "JSON object"),
        (None, "JSON object"),
    ],
)
def test_a_request_that_cannot_work_is_told_why_and_sends_nothing(
    client: httpx.Client, simulator: SimulatorControl, body: Any, words: str
) -> None:
    response = client.post(ROUTE, json=body)
    assert response.status_code == 400
    assert error_of(response)["type"] == "ValidationError"
    assert words in error_of(response)["message"]
    assert simulator.rows() == []


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (b"", "application/json"),
        (b"{}", "text/plain"),  # what a web page could send without asking
        (b'{"a":' * 5_000, "application/json"),
        (b'{"templateId": "advice", "persona": "\\ud800", "emotion": "x", "topic": "x"}', "application/json"),
        (b'{"templateId": "advice", "persona": "p", "emotion": "x", "topic": "x", "temperature": NaN}', "application/json"),
        (
            b'{"templateId": "advice", "persona": "p", "emotion": "x", "topic": "x", "maxTokens": %d}' % 10**4000,
            "application/json",
        ),
        (b"\xff\xfe", "application/json"),
    ],
)
def test_a_body_that_is_no_json_object_is_a_bad_request(client: httpx.Client, content: bytes, content_type: str) -> None:
    response = client.post(ROUTE, content=content, headers={"content-type": content_type})
    assert response.status_code == 400
    assert error_of(response)["type"] == "ValidationError"


def test_a_body_beyond_a_megabyte_is_refused_while_it_arrives(client: httpx.Client) -> None:
    response = client.post(ROUTE, json=wanted(filler="x" * 1_100_000))
    assert response.status_code == 413
    assert error_of(response)["type"] == "TooLarge"
    assert client.get(ROUTE).status_code == 200


def test_routes_that_are_not_there_answer_in_the_same_shape(client: httpx.Client) -> None:
    assert error_of(client.get("/api/nothing"))["type"] == "NotFound"
    response = client.put(ROUTE, json={})
    assert (response.status_code, error_of(response)["type"]) == (405, "MethodNotAllowed")


# --- the answer, the rate, the API ---


def test_an_invalid_conversation_is_unprocessable_and_says_what_it_cost(
    serve: Serve, simulator: SimulatorControl, read_costs: ReadCosts
) -> None:
    simulator.script("wrong_roles")
    with serve() as client:
        response = client.post(ROUTE, json=wanted())
    assert response.status_code == 422
    error = error_of(response)
    assert error["type"] == "GenerationValidationError"
    assert error["details"]["rule"]
    assert error["details"]["costUsd"] == float(read_costs().total_cost_usd) > 0


def test_an_answer_without_json_is_a_bad_gateway_with_the_text(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("prose")
    with serve() as client:
        response = client.post(ROUTE, json=wanted())
    assert response.status_code == 502
    assert error_of(response)["type"] == "ParseError"
    assert len(error_of(response)["details"]["content"]) > 100


def test_with_the_queue_off_a_request_too_many_is_told_when_to_come_back(serve: Serve) -> None:
    with serve(limits={"max_requests": 2, "window_seconds": 60, "queue": False}) as client:
        assert client.post(ROUTE, json=wanted()).status_code == 201
        response = client.post(ROUTE, json=wanted())
    assert response.status_code == 429
    assert error_of(response)["type"] == "RateLimitError"
    seconds, milliseconds = response.headers["retry-after"], error_of(response)["details"]["retryAfter"]
    assert seconds.isdecimal()
    assert int(seconds) - 1 < milliseconds / 1000 <= int(seconds) <= 61  # the window, and what a request may take to be sent


def test_a_failing_api_is_a_bad_gateway_after_three_attempts(
    serve: Serve, simulator: SimulatorControl, read_costs: ReadCosts
) -> None:
    simulator.script("500", "500", "500")
    with serve() as client:
        response = client.post(ROUTE, json=wanted())
    assert response.status_code == 502
    error = error_of(response)
    assert error["type"] == "ClaudeAPIError"
    assert (error["details"]["status"], error["details"]["retryable"], error["details"]["attempts"]) == (500, True, 3)
    assert (read_costs().attempts, read_costs().failed) == (3, 3)


def test_a_call_beyond_the_budget_is_not_sent(serve: Serve, simulator: SimulatorControl) -> None:
    with serve(budget={"day_usd": 0.02}) as client:
        response = client.post(ROUTE, json=wanted(maxTokens=4096))
        assert (response.status_code, error_of(response)["type"]) == (503, "BudgetExceeded")
        assert client.get("/healthz").status_code == 200
    assert simulator.rows() == []


def test_a_fault_of_the_server_tells_nothing(serve: Serve, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    refuse = "CREATE TRIGGER full BEFORE INSERT ON requests BEGIN SELECT RAISE(ABORT, 'no room in /srv/secret'); END"
    with serve() as client:
        with Ledger(settings.database_url) as ledger:
            ledger.write(lambda connection: connection.execute(text(refuse)))
        response = client.post(ROUTE, json=wanted())
    assert response.status_code == 500
    assert response.json() == {"error": {"type": "InternalError", "message": "internal error", "details": {}}}
    assert any("no room" in str(record.exc_info) for record in caplog.records)  # the operator is told


def test_a_broken_template_is_told_without_the_server_s_folders(settings: Settings, tmp_path: Path, serve_app: ServeApp) -> None:
    templates = tmp_path / "secret-place" / "templates"
    templates.mkdir(parents=True)
    (templates / "broken.yaml").write_text("version: [")
    with serve_app(make_app(settings.model_copy(update={"config_dir": templates.parent}), simulate=True)) as client:
        response = client.post(ROUTE, json=wanted(templateId="broken"))
    assert response.status_code == 400
    assert "configs/templates/broken.yaml" in error_of(response)["message"]
    assert "secret-place" not in response.text


def test_the_rate_status_follows_what_was_sent(serve: Serve) -> None:
    with serve(limits={"max_requests": 50, "window_seconds": 60}) as client:
        idle = client.get(ROUTE).json()["data"]
        client.post(ROUTE, json=wanted())
        used = client.get(ROUTE).json()["data"]
    assert datetime.fromisoformat(idle["resetAt"]) <= datetime.now(UTC)  # there is always one
    assert idle == {
        "used": 0,
        "remaining": 50,
        "resetAt": idle["resetAt"],
        "queueLength": 0,
        "waitingForCache": 0,
        "isPaused": False,
    }
    assert {**used, "resetAt": idle["resetAt"]} == {**idle, "used": 1, "remaining": 49}
    assert datetime.now(UTC) < datetime.fromisoformat(used["resetAt"]) < datetime.now(UTC) + timedelta(seconds=61)


# --- callers who leave, many callers, an end ---


def leave_after(client: httpx.Client, condition: Callable[[], bool]) -> None:
    """Send a request, and hang up once the condition holds."""
    body = httpx.Request("POST", client.base_url, json=wanted()).content
    head = f"POST {ROUTE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
        connection.sendall(head.encode() + body)
        wait_until(condition)


def test_a_caller_who_leaves_before_the_call_takes_the_request_back(serve: Serve, simulator: SimulatorControl) -> None:
    with serve(limits={"max_requests": 2, "window_seconds": 60}) as client:
        client.post(ROUTE, json=wanted())
        leave_after(client, lambda: client.get(ROUTE).json()["data"]["queueLength"] == 1)
        wait_until(lambda: client.get(ROUTE).json()["data"]["queueLength"] == 0)
    assert len(simulator.rows()) == 1


def test_a_caller_who_leaves_during_the_call_does_not_cancel_it(
    serve: Serve, simulator: SimulatorControl, read_costs: ReadCosts
) -> None:
    with serve() as client:
        leave_after(client, lambda: len(simulator.rows()) == 1)
    assert (read_costs().attempts, read_costs().succeeded, read_costs().maybe_billed, read_costs().accepted) == (1, 1, 0, 1)


def test_twenty_callers_at_once_all_get_their_conversation(serve: Serve, read_costs: ReadCosts) -> None:
    answers: list[httpx.Response] = []
    with serve(limits={"max_requests": 10, "window_seconds": 0.5}) as client:
        callers = [
            threading.Thread(target=lambda n=n: answers.append(client.post(ROUTE, json=wanted(f"topic {n}")))) for n in range(20)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert [answer.status_code for answer in answers] == [201] * 20
    assert len({answer.json()["data"]["conversationId"] for answer in answers}) == 20
    assert (read_costs().attempts, read_costs().conversations) == (20, 20)


def test_what_waits_when_the_server_stops_is_unavailable(
    settings: Settings, simulator: SimulatorControl, serve_app: ServeApp
) -> None:
    app = make_app(settings, spec=change_spec(default_spec("claude-sonnet-5-5"), limits={"max_requests": 2}), simulate=True)
    answers: list[httpx.Response] = []

    @app.post("/stop")
    async def stop() -> None:
        app.state.generator.stop("closing time")

    with serve_app(app) as client:
        client.post(ROUTE, json=wanted())
        waiting = threading.Thread(target=lambda: answers.append(client.post(ROUTE, json=wanted())))
        waiting.start()
        wait_until(lambda: client.get(ROUTE).json()["data"]["queueLength"] == 1)
        client.post("/stop")
        waiting.join()
    assert answers[0].status_code == 503
    assert error_of(answers[0])["message"] == "closing time"
    assert len(simulator.rows()) == 1


def test_the_schema_tells_names_and_error_shape(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["components"]["schemas"]["GenerateBody"]["properties"]) >= {"templateId", "maxTokens", "parameters"}
    for path, also in (("/api/conversations/generate", "404 405 413"), ("/api/conversations/generate-batch", "404 405 413 429")):
        answers = schema["paths"][path]["post"]["responses"]
        assert set(also.split()) < set(answers)
        for status, answer in answers.items():
            if status != "201":
                shape = answer["content"]["application/json"]["schema"]
                shapes = {one["$ref"].rpartition("/")[2] for one in shape.get("anyOf", [shape])}
                assert shapes <= {"Failure", "BatchFailed"}
    for shape in ("Failure", "BatchFailed"):
        assert schema["components"]["schemas"][shape]["properties"]["error"] == {"$ref": "#/components/schemas/ErrorBody"}
    assert "HTTPValidationError" not in schema["components"]["schemas"]


@contextmanager
def echoing_api() -> Iterator[str]:
    """A server that speaks a little of the Messages API, signs nothing, and refuses with the headers it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer(200, {"id": "claude-sonnet-5-5", "type": "model"})

        def do_POST(self) -> None:
            said = f"what does this mean: {self.headers['authorization']} {self.headers['x-api-key']}"
            self.answer(400, {"type": "error", "error": {"type": "invalid_request_error", "message": said}})

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_echoes_the_key_gives_none_of_it_away(
    settings: Settings, serve_app: ServeApp, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-ant-very-secret-0123456789"
    caplog.set_level(logging.DEBUG)
    with echoing_api() as url:
        real = Settings(base_url=url, data_dir=settings.data_dir, api_key=key)
        with serve_app(make_app(real)) as client:
            responses = [client.post(ROUTE, json=wanted()), client.get(ROUTE), client.get("/healthz")]
    assert responses[0].status_code == 502
    assert "[key]" in error_of(responses[0])["message"]
    for response in responses:
        assert key not in response.text and key not in str(response.headers)
    assert "very-secret" not in caplog.text
    assert b"very-secret" not in b"".join(path.read_bytes() for path in settings.data_dir.iterdir())


@pytest.mark.parametrize("caching", [True, False])
def test_all_who_wait_are_in_the_queue_and_caching_can_be_off(
    settings: Settings, serve_app: ServeApp, monkeypatch: pytest.MonkeyPatch, caching: bool
) -> None:
    monkeypatch.setattr("convoforge.generation.prompt_cache.PICO_A_SECOND", 1)  # to wait for the one ahead is always worth while
    with simulator_process(latency_ms=3_000) as url:
        slow = settings.model_copy(update={"base_url": url})
        changes = {"limits": {"max_requests": 1_000}, "generation": {"caching": caching}}
        spec = change_spec(default_spec("claude-sonnet-5-5"), **changes)
        with serve_app(make_app(slow, spec=spec, simulate=True)) as client:
            callers = [threading.Thread(target=lambda: client.post(ROUTE, json=wanted())) for _ in range(8)]
            for caller in callers:
                caller.start()

            def seen() -> bool:
                now, sent = client.get(ROUTE).json()["data"], len(SimulatorControl(url).rows())
                # the first may come alone, and is not marked then: the second goes ahead
                return bool(
                    now["waitingForCache"] == now["queueLength"] == 8 - sent and (sent in (1, 2) if caching else sent == 8)
                )

            wait_until(seen)
            for caller in callers:
                caller.join()
