"""What was paid can be had again: by its id, and by a key of the caller's; and is never paid twice."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from convoforge.api.app import make_app
from convoforge.api.tokens import make_token, read_scopes
from convoforge.generation.requests import default_spec
from convoforge.ledger import Ledger
from convoforge.planning.spec import change_spec
from convoforge.review.deciding import decide
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

GENERATE, BATCH = "/api/conversations/generate", "/api/conversations/generate-batch"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
KEY = {"idempotency-key": "order-1"}
Serve = Callable[..., AbstractContextManager[httpx.Client]]
ServeApp = Callable[[FastAPI], AbstractContextManager[httpx.Client]]


def poll(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with Ledger(settings.database_url) as ledger:
        return [tuple(row) for row in ledger.read(lambda connection: connection.execute(text(query)).all())]


def leave(client: httpx.Client, body: Any, condition: Callable[[], bool], route: str = GENERATE, **headers: str) -> None:
    """Send a request, and hang up once the condition holds."""
    content = json.dumps(body).encode()
    lines = [f"POST {route} HTTP/1.1", "host: localhost", "content-type: application/json", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        poll(condition)


# --- by an id ---


def test_a_conversation_of_a_dataset_is_found_by_who_may_read(settings: Settings, serve_app: ServeApp) -> None:
    tokens = {name: make_token(name, read_scopes(name, "")) for name in ("read", "generate")}
    file = settings.data_dir / "tokens"
    file.write_text("\n".join(line for _, line in tokens.values()))
    headers = {name: {"authorization": f"Bearer {token}"} for name, (token, _) in tokens.items()}
    with serve_app(make_app(settings.model_copy(update={"api_token_file": file}), simulate=True)) as client:
        made = client.post(GENERATE, json=GOOD, headers=headers["generate"]).json()
        path = f"/api/conversations/{made['data']['conversationId']}"
        assert client.get(path, headers=headers["generate"]).json()["data"] == made["data"]
        with Ledger(settings.database_url) as ledger:  # as a build keeps it
            columns = "name, provider, min_score, created_at, pseudonym_key"
            new = f"INSERT INTO datasets ({columns}) SELECT 'mine', provider, 10, created_at, pseudonym_key FROM datasets"
            for change in (new, "UPDATE requests SET request = NULL, dataset_id = (SELECT max(id) FROM datasets)"):
                ledger.write(lambda connection, change=change: connection.execute(text(change)) and None)
        found = client.get(path, headers=headers["read"]).json()
        assert found["data"] == made["data"]
        assert found["metadata"]["status"] == "needs_revision"  # by its own dataset's minimum score
        assert client.get(path, headers=headers["generate"]).status_code == 404
        assert client.get(f"{path}?simulated=false", headers=headers["read"]).status_code == 404
        with Ledger(settings.database_url) as ledger:
            for decision, status in (("accept", "generated"), ("revise", "needs_revision")):
                decide(ledger, made["data"]["conversationId"], decision, "Ann", now=datetime.now(UTC))
                assert client.get(path, headers=headers["read"]).json()["metadata"]["status"] == status
            ledger.write(lambda connection: connection.execute(text("UPDATE answers SET score = NULL")) and None)
            unscored = client.get(path, headers=headers["read"])
            assert unscored.status_code == 202 and "not scored yet" in unscored.text
            ledger.write(lambda connection: connection.execute(text("UPDATE requests SET answer = 2")) and None)  # another one
        assert client.get(path, headers=headers["read"]).status_code == 404


def test_a_conversation_is_found_by_its_id_and_by_that_of_its_request(serve: Serve) -> None:
    with serve() as client:
        made = client.post(GENERATE, json=GOOD)
        data, metadata = made.json()["data"], made.json()["metadata"]
        assert made.headers["location"] == f"/api/conversations/{data['conversationId']}"
        for name in (data["conversationId"], metadata["requestId"]):
            found = client.get(f"/api/conversations/{name}")
            assert found.status_code == 200
            assert found.json()["data"] == data
            assert {**found.json()["metadata"], "requestId": ""} == {**metadata, "requestId": ""}
        assert client.get(f"/api/conversations/{'0' * 24}").status_code == 404
        assert client.get("/api/conversations/nothing").status_code == 404


def test_what_was_paid_and_is_no_conversation_is_told_again(
    serve: Serve, simulator: SimulatorControl, settings: Settings
) -> None:
    simulator.script("prose")
    with serve() as client:
        first = client.post(GENERATE, json=GOOD)
        ((name,),) = rows(settings, "SELECT conversation_id FROM answers")
        again = client.get(f"/api/conversations/{name}")
    assert (first.status_code, again.status_code) == (502, 502)
    assert again.json()["error"]["details"]["content"] == first.json()["error"]["details"]["content"]


def test_who_leaves_is_in_the_log_with_where_the_conversation_stays(
    settings: Settings, serve_app: ServeApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="convoforge.api")
    with (
        simulator_process(latency_ms=1_000) as url,
        serve_app(make_app(settings.model_copy(update={"base_url": url}), simulate=True)) as client,
    ):
        leave(client, GOOD, lambda: len(SimulatorControl(url).rows()) == 1)
        poll(lambda: "left after" in caplog.text)
        path = caplog.text.partition("GET ")[2].split()[0]
        poll(lambda: client.get(path).status_code == 200)
        assert client.get(path).json()["data"]["topic"] == "t"


# --- by a key ---


def test_a_key_brings_the_same_response_and_nothing_is_paid_twice(serve: Serve, simulator: SimulatorControl) -> None:
    with serve() as client:
        first, second = client.post(GENERATE, json=GOOD, headers=KEY), client.post(GENERATE, json=GOOD, headers=KEY)
        assert (first.status_code, second.status_code) == (201, 201)
        assert (first.json(), second.headers["idempotent-replayed"]) == (second.json(), "true")
        assert len(simulator.rows()) == 1
        other = client.post(GENERATE, json={**GOOD, "topic": "else"}, headers=KEY)
        batch = client.post(BATCH, json={"requests": [GOOD]}, headers=KEY)
        assert [response.status_code for response in (other, batch)] == [422, 422]
        assert client.post(GENERATE, json=GOOD, headers={"idempotency-key": "order-2"}).status_code == 201
    assert len(simulator.rows()) == 2


def test_a_key_outlives_the_server(serve: Serve, simulator: SimulatorControl) -> None:
    with serve() as client:
        first = client.post(GENERATE, json=GOOD, headers=KEY)
    with serve() as client:
        assert client.post(GENERATE, json=GOOD, headers=KEY).json() == first.json()
    assert len(simulator.rows()) == 1


def test_the_same_request_twice_at_once_waits_for_the_one(serve: Serve, simulator: SimulatorControl) -> None:
    answers: list[httpx.Response] = []
    with serve() as client:
        callers = [
            threading.Thread(target=lambda: answers.append(client.post(GENERATE, json=GOOD, headers=KEY))) for _ in range(5)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(20)
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.json()["data"]["conversationId"] for answer in answers}) == 1
    assert len(simulator.rows()) == 1


def test_another_process_that_works_on_it_is_a_conflict(settings: Settings, serve_app: ServeApp) -> None:
    with simulator_process(latency_ms=1_500) as url:
        slow = settings.model_copy(update={"base_url": url})
        spec = change_spec(default_spec("claude-sonnet-5-5"), limits={"max_requests": 1_000})
        with (
            serve_app(make_app(slow, spec=spec, simulate=True)) as one,
            serve_app(make_app(slow, spec=spec, simulate=True)) as two,
        ):
            caller = threading.Thread(target=lambda: one.post(GENERATE, json=GOOD, headers=KEY))
            caller.start()
            poll(lambda: len(SimulatorControl(url).rows()) == 1)
            conflict = two.post(GENERATE, json=GOOD, headers=KEY)
            assert (conflict.status_code, conflict.headers["retry-after"]) == (409, "5")
            caller.join()
            assert two.post(GENERATE, json=GOOD, headers=KEY).headers["idempotent-replayed"] == "true"
        assert len(SimulatorControl(url).rows()) == 1


def test_who_leaves_with_a_key_finds_it_done(serve: Serve, simulator: SimulatorControl) -> None:
    with serve() as client:
        leave(client, GOOD, lambda: len(simulator.rows()) == 1, idempotency_key="order-1")
        assert client.post(GENERATE, json=GOOD, headers=KEY).status_code == 201
    assert len(simulator.rows()) == 1


def test_what_was_not_paid_is_tried_again(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("500", "500", "500")
    with serve() as client:
        assert client.post(GENERATE, json=GOOD, headers=KEY).status_code == 502
        assert client.post(GENERATE, json=GOOD, headers=KEY).status_code == 201
    assert len(simulator.rows()) == 4


def test_of_a_batch_only_what_brought_no_answer_is_sent_again(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("500", "500", "500", match="bad luck")
    body = {"requests": [GOOD, {**GOOD, "topic": "bad luck"}, {**GOOD, "topic": "u"}]}
    with serve() as client:
        first = client.post(BATCH, json=body, headers=KEY).json()["data"]
        assert [one["status"] for one in first["results"]] == ["generated", "failed", "generated"]
        calls = len(simulator.rows())
        second = client.post(BATCH, json=body, headers=KEY).json()["data"]
        assert len(simulator.rows()) == calls + 1
        assert second["summary"]["successful"] == 3
        assert [second["results"][n]["data"] for n in (0, 2)] == [first["results"][n]["data"] for n in (0, 2)]
        assert client.post(BATCH, json=body, headers=KEY).headers["idempotent-replayed"] == "true"


def test_after_a_crash_what_was_answered_is_not_paid_again(serve: Serve, simulator: SimulatorControl, settings: Settings) -> None:
    body = {"requests": [GOOD, {**GOOD, "topic": "u"}]}
    with serve() as client:
        first = client.post(BATCH, json=body, headers=KEY).json()["data"]
    with Ledger(settings.database_url) as ledger:  # as if it had been killed before it kept the response
        ledger.write(lambda c: c.execute(text("UPDATE idempotency_keys SET status = NULL, response = NULL, owner = 'dead'")))
    with serve() as client:
        second = client.post(BATCH, json=body, headers=KEY)
        assert second.status_code == 201
        assert [one["data"] for one in second.json()["data"]["results"]] == [one["data"] for one in first["results"]]
    assert len(simulator.rows()) == 2


def test_the_same_key_of_another_token_is_another_key(settings: Settings, serve_app: ServeApp) -> None:
    file = settings.data_dir / "tokens"
    file.write_text("one\ntwo")
    with serve_app(make_app(settings.model_copy(update={"api_token_file": file}), simulate=True)) as client:
        sent = [
            client.post(GENERATE, json=GOOD, headers=KEY | {"authorization": f"Bearer {name}"}) for name in ("one", "two", "one")
        ]
    ids = [one.json()["data"]["conversationId"] for one in sent]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(client: httpx.Client, simulator: SimulatorControl, key: str) -> None:
    assert client.post(GENERATE, json=GOOD, headers={"idempotency-key": key}).status_code == 400
    assert simulator.rows() == []


# --- batches, and what leaves no trace ---


def test_a_batch_s_summary_is_kept(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("prose")
    with serve() as client:
        made = client.post(BATCH, json={"requests": [GOOD, GOOD], "options": {"concurrency": 1}}).json()["data"]
        kept = client.get(f"/api/batches/{made['batchId']}").json()["data"]
        assert kept["summary"] == made["summary"]
        assert (kept["summary"]["successful"], kept["summary"]["failed"]) == (1, 1)
        assert kept["finishedAt"] is not None
        found = [client.get(f"/api/conversations/{name}").status_code for name in kept["requestIds"]]
        assert found == [502, 200]
        assert client.get("/api/batches").json()["data"] == [kept]
        assert client.get(f"/api/batches/{'0' * 32}").status_code == 404


def test_a_request_that_was_never_sent_leaves_no_row(serve: Serve, settings: Settings) -> None:
    with serve(limits={"max_requests": 2, "queue": False}) as client:
        assert client.post(GENERATE, json=GOOD).status_code == 201
        assert {client.post(GENERATE, json=GOOD).status_code for _ in range(20)} == {429}
        poll(lambda: rows(settings, "SELECT state, count(*) FROM requests GROUP BY state") == [("held", 1)])


def test_who_leaves_while_waiting_leaves_no_claim(serve: Serve, settings: Settings) -> None:
    with serve(limits={"max_requests": 2, "window_seconds": 3_600}) as client:
        client.post(GENERATE, json=GOOD)
        for _ in range(3):
            leave(client, GOOD, lambda: client.get(GENERATE).json()["data"]["queueLength"] == 1)
            poll(lambda: client.get(GENERATE).json()["data"]["queueLength"] == 0)
        poll(lambda: rows(settings, "SELECT state, count(*) FROM requests GROUP BY state") == [("held", 1)])


# --- figures ---


def test_costs_and_metrics_are_told(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("500")
    with serve() as client:
        cost = client.post(GENERATE, json=GOOD).json()["metadata"]["costUsd"]
        costs = client.get("/api/costs", params={"from": "2020-01-01", "to": "9999-12-31", "by": "template"}).json()
        assert float(costs["total_cost_usd"]) == cost
        assert costs["groups"]["advice"]["attempts"] == 2
        metrics = client.get("/api/metrics").json()
        assert (metrics["attempts"], metrics["successRate"], metrics["retries"]) == (2, 0.5, 1)
        assert metrics["costPerConversationUsd"] == cost
        assert metrics["latencyMs"]["p50"] == metrics["latencyMs"]["p99"] >= 20
        assert client.get("/api/costs", params={"to": "2020-01-01"}).json()["attempts"] == 0
        for params in ({"from": "yesterday"}, {"by": "moon"}, {"from": "2026-01-02", "to": "2025-01-01"}):
            assert client.get("/api/costs", params=params).status_code == 400
