"""`/metrics`: counted as it happens, so a scrape costs nothing however long the ledger is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock

import httpx
import pytest
from followed import GoingRun
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from starlette.types import Receive, Scope, Send

from convoforge.api.prometheus import Measure, Metrics, _judge
from convoforge.errors import LedgerError
from convoforge.ledger import Ledger
from convoforge.models import Quality, ScorerResult
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl

GENERATE = "/api/conversations/generate"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
Serve = Callable[..., AbstractContextManager[httpx.Client]]


def scrape(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Each sample by its name without `convoforge_`, and the values of its labels in the order of their names."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {
        (one.name.removeprefix("convoforge_"), *one.labels.values()): one.value for family in families for one in family.samples
    }


def test_what_was_done_can_be_scraped(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("500", "ok", "refusal")
    with serve(budget={"day_usd": 2}, limits={"max_requests": 100}) as client:
        answers = [client.post(GENERATE, json=GOOD).json(), client.post(GENERATE, json=GOOD).json()]
        client.get("/nothing/0"), client.get("/nothing/1")
        found = scrape(client)
    done, refused = answers[0]["metadata"], answers[1]["error"]
    assert found["http_requests_total", "POST", GENERATE, "201"] == 1
    assert found["http_requests_total", "POST", GENERATE, "422"] == 1
    assert found["http_requests_total", "", "", "404"] == 2
    assert found["http_request_seconds_count", GENERATE] == 2
    calls = {name[1]: value for name, value in found.items() if name[0] == "api_calls_total"}
    assert sorted(calls.values()) == [1, 2] and calls["succeeded"] == 2
    assert found["api_call_seconds_count",] == 3
    assert found["tokens_total", "output"] >= done["outputTokens"]
    cost = done["costUsd"] + refused["details"]["costUsd"]
    assert found["cost_dollars_total",] == pytest.approx(cost)
    assert found["conversations_total", "refused", "dropped"] == 1
    assert sum(value for name, value in found.items() if name[0] == "conversations_total") == 2
    assert found["server_info", "simulator"] == 1
    assert (found["rate_used",], found["rate_remaining",], found["rate_paused",]) == (3, 97, 0)
    assert (found["queue_length",], found["api_calls_in_flight",]) == (0, 0)
    assert 2 - cost - 0.1 < found["budget_left_dollars", "day"] <= 2 - cost
    assert found["dataset_spent_dollars", "adhoc", "simulator"] == pytest.approx(2 - found["budget_left_dollars", "day"])


def test_a_scrape_reads_no_attempt(serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opening = Ledger.__init__

    def watched(self: Ledger, url: str) -> None:
        opening(self, url)
        event.listen(self.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

    monkeypatch.setattr(Ledger, "__init__", watched)
    with serve(budget={"day_usd": 2}) as client:
        asked.clear()
        scrape(client)
        seen = [*asked]
    assert sum("FROM budgets" in query or "JOIN budgets" in query for query in seen) == 2
    assert not any(table in query for query in seen for table in ("generation_logs", "answers", "requests"))


def test_a_broken_request_is_counted_and_a_stream_has_no_seconds() -> None:
    metrics = Metrics()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/broken":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body"})

    measured = httpx.ASGITransport(app=Measure(answer, metrics), raise_app_exceptions=False)

    async def ask() -> str:
        async with httpx.AsyncClient(transport=measured, base_url="http://localhost") as client:
            await client.get("/broken"), await client.get("/events")
        return (await metrics.render(cast(Ledger, Spending()), None)).decode()

    text = asyncio.run(ask())
    assert 'convoforge_http_requests_total{method="",route="",status="500"} 1.0' in text
    assert 'convoforge_http_requests_total{method="",route="",status="200"} 1.0' in text
    assert 'convoforge_http_request_seconds_count{route=""} 1.0' in text


def test_who_leaves_is_counted_too() -> None:
    metrics = Metrics()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/gone":
            return  # before there was anything to send
        await send({"type": "http.response.start", "status": 206, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if scope["path"] == "/stopped":
            raise asyncio.CancelledError

    async def look(path: str) -> None:
        scope: Scope = {"type": "http", "method": "GET", "path": path, "route": SimpleNamespace(path_format=path)}
        with suppress(asyncio.CancelledError):
            await Measure(answer, metrics)(scope, AsyncMock(), AsyncMock())

    async def ask() -> str:
        for path in ("/gone", "/left", "/stopped"):
            await look(path)
        return (await metrics.render(cast(Ledger, Spending()), None)).decode()

    text = asyncio.run(ask())
    for path, status in (("/gone", 499), ("/left", 206), ("/stopped", 206)):
        assert f'convoforge_http_requests_total{{method="GET",route="{path}",status="{status}"}} 1.0' in text
    assert "convoforge_http_request_seconds_count" not in text  # it was not sent


def test_a_stream_that_is_left_is_counted_as_it_was_answered(serve: Serve, settings: Settings) -> None:
    with serve() as client:
        with Ledger(settings.database_url) as ledger:
            run = GoingRun.begin(ledger)
        with client.stream("GET", f"/api/builds/{run.id}/events") as events:
            next(events.iter_lines())
        deadline = time.monotonic() + 20
        while ("http_requests_total", "GET", "/api/builds/{build_id}/events", "200") not in (found := scrape(client)):
            assert time.monotonic() < deadline, sorted(name for name in found if name[0] == "http_requests_total")
            time.sleep(0.05)


def test_requests_are_counted_by_their_route_and_no_caller_makes_a_row(serve: Serve) -> None:
    with serve() as client:
        client.head("/healthz"), client.head("/static/viewer.css"), client.head("/nothing")
        client.request("BREW", "/healthz"), client.request("STEEP", "/healthz")
        found = {name[1:]: value for name, value in scrape(client).items() if name[0] == "http_requests_total"}
    assert found["HEAD", "/healthz", "200"] == found["HEAD", "/static/{name}", "200"] == 1
    assert found["", "", "404"] == 1
    assert not any("BREW" in name or "STEEP" in name for name in found)


class Spending:
    """A ledger in which one dataset has cost a dollar, until it cannot be read."""

    broken = False

    async def aread(self, *_: object) -> list[tuple[str, str, int]]:
        if self.broken:
            raise LedgerError("gone")
        return [("sheep", "anthropic", 1)]


def test_without_a_key_there_is_no_rate_and_what_cannot_be_read_is_missing() -> None:
    metrics, ledger = Metrics(), Spending()
    text = asyncio.run(metrics.render(cast(Ledger, ledger), None)).decode()
    assert 'convoforge_dataset_spent_dollars{dataset="sheep",provider="anthropic"} 1.0' in text
    assert "rate_remaining" not in text and "convoforge_server_info{" not in text
    ledger.broken = True
    assert "spent_dollars{" not in asyncio.run(metrics.render(cast(Ledger, ledger), None)).decode()


def test_why_an_answer_is_not_accepted_is_one_word() -> None:
    def quality(score: int, *verdicts: str) -> Quality:
        return Quality(
            score, tuple(ScorerResult(f"f{at}", 1, None, None, verdict, "long text") for at, verdict in enumerate(verdicts))
        )

    assert _judge("parse_error", None, 6) == ("dropped", "parse_error")
    assert _judge("ok", quality(8, "keep", "mark"), 6) == ("accepted", "")
    assert _judge("ok", quality(5, "keep"), 6) == ("needs_revision", "score")
    assert _judge("ok", quality(8, "keep", "revise", "drop"), 6) == ("dropped", "f2")
    assert Metrics()  # a second one of a process has counters of its own
