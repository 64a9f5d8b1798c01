"""`/metrics` in Prometheus' format: what this server has done since it started, its rate limit, and what is left of the budgets.

Everything is counted as it happens. A scrape reads no attempt from the ledger, only one row of each budget, and so costs the same
with a million attempts as with none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoforge.api.access import requires
from convoforge.api.conversations import EVERYWHERE
from convoforge.api.errors import CLIENT_LEFT, INTERNAL
from convoforge.dataset.acceptance import judge_quality
from convoforge.errors import LedgerError
from convoforge.generation.requests import RequestGenerator
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import Completion
from convoforge.ledger.budgets import read_dataset_spend
from convoforge.models import Quality, Status
from convoforge.pricing import usd

CALL_SECONDS = (0.5, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 300, 600)
REQUEST_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
LEDGER_SECONDS = 2.0
"""Maximum seconds that a scrape waits for the ledger; then the budgets are missing from it."""

_LOG = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]
router = APIRouter(responses=EVERYWHERE)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._limits = limits = CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"convoforge_{name}", words, labels, registry=registry)

        def gauge(name: str, words: str, *labels: str, among: CollectorRegistry = registry) -> Gauge:
            return Gauge(f"convoforge_{name}", words, labels, registry=among)

        self._requests = counter(
            "http_requests",
            "Requests to this server; 499: the caller left",
            "route",
            "method",
            "status",
        )
        self._seconds = Histogram(
            "convoforge_http_request_seconds",
            "Seconds until the response was sent",
            ["route"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self._calls = counter("api_calls", "Calls to the Claude API; outcome is `succeeded` or the kind of the error", "outcome")
        self._call_seconds = Histogram(
            "convoforge_api_call_seconds", "Seconds that calls to the Claude API took", buckets=CALL_SECONDS, registry=registry
        )
        self._tokens = counter("tokens", "Tokens that were billed", "kind")
        self._dollars = counter("cost_dollars", "US dollars that calls have cost")
        self._conversations = counter(
            "conversations", "Answers, by what became of them and why they were not accepted", "status", "reason"
        )
        self._server = gauge(
            "server_info", "1; provider is `simulator` where nothing is paid and all figures are simulated", "provider"
        )
        self._used = gauge("rate_used", "Requests admitted in the current window of the rate limit", among=limits)
        self._remaining = gauge("rate_remaining", "Requests that the rate limit would admit now", among=limits)
        self._paused = gauge("rate_paused", "1 while a new request would have to wait, else 0", among=limits)
        self._queue = gauge("queue_length", "Requests that wait to be sent", among=limits)
        self._flying = gauge("api_calls_in_flight", "Calls to the Claude API that are not answered yet", among=limits)
        self._left = gauge("budget_left_dollars", "US dollars left in a budget of this server", "budget")
        self._spent = gauge("dataset_spent_dollars", "US dollars spent on a dataset, by all processes", "dataset", "provider")

    def note_request(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count a request to this server; without `seconds`, how long it took says nothing."""
        self._requests.labels(route, method, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def note_call(self, done: Completion, min_score: int) -> None:
        """Count a call to the Claude API, as it is recorded in the ledger."""
        self._calls.labels("succeeded" if done.status == "succeeded" else done.error_kind or "error").inc()
        self._call_seconds.observe(done.latency_ms / 1000)
        for kind in ("input", "output", "cache_read", "cache_write"):
            self._tokens.labels(kind).inc(getattr(done.usage, f"{kind}_tokens"))
        self._dollars.inc(float(usd(done.cost_pico)))
        if done.answer is not None:
            quality = done.answer.scored.quality if done.answer.scored else None
            self._conversations.labels(*_judge(done.answer.kind, quality, min_score)).inc()

    async def render(self, ledger: Ledger, generator: RequestGenerator | None) -> bytes:
        """The text of a scrape. Without a generator there is no rate limit and no budget."""
        lefts, spents = {}, []
        with suppress(TimeoutError, LedgerError):
            async with asyncio.timeout(LEDGER_SECONDS):
                lefts = await generator.budgets_left() if generator else {}
                spents = await ledger.aread(read_dataset_spend)
        self._left.clear()  # what cannot be read now is missing, and not as it was
        self._spent.clear()
        for budget, left in lefts.items():
            self._left.labels(budget).set(float(left))
        for name, provider, spent in spents:
            self._spent.labels(name, provider).set(float(spent))
        if generator is None:
            return generate_latest(self._registry)
        self._server.labels(generator.model_provider).set(1)
        now = generator.status()
        for gauge, value in (
            (self._used, now.used),
            (self._remaining, now.remaining),
            (self._paused, int(now.is_paused)),
            (self._queue, now.queue_length),
            (self._flying, generator.in_flight),
        ):
            gauge.set(value)
        return generate_latest(self._registry) + generate_latest(self._limits)


class Measure:
    """Counts requests and their seconds by the path with its parameters' names. Streams of events last as long as somebody watches, and
    have no seconds. Nor has a response whose caller left: it counts with the status that it began with, or 499 if it had not begun."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, is_stream, ended = time.monotonic(), 0, False, False

        def end(status: int, *, is_sent: bool = True) -> None:
            nonlocal ended
            if not ended:
                ended = True
                route = getattr(scope.get("route"), "path_format", "")
                method = scope["method"] if route and scope["method"] in METHODS else ""  # no caller may add rows without end
                seconds = time.monotonic() - began if is_sent and not is_stream else None
                self._metrics.note_request(route, method, status, seconds)

        async def noted(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = dict(message.get("headers", ())).get(b"content-type", b"").startswith(b"text/event-stream")
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                end(status)

        try:
            await self._app(scope, receive, noted)
        except Exception:  # it is answered outside of this
            end(status or INTERNAL)
            raise
        finally:
            end(status or CLIENT_LEFT, is_sent=False)


@router.get(
    "/metrics", dependencies=[requires("read")], response_class=Response, responses={200: {"content": {"text/plain": {}}}}
)
async def scrape(request: Request) -> Response:
    """The figures of this server for Prometheus: requests, calls, tokens, dollars, conversations, rate limit, budgets."""
    state = request.app.state
    return Response(await state.metrics.render(state.ledger, state.generator), media_type=CONTENT_TYPE_LATEST)


def _judge(kind: str, quality: Quality | None, min_score: int) -> tuple[str, str]:
    """What became of an answer, and in one word why: an answer's kind, a filter's name, or `score`."""
    if quality is None:
        return Status.DROPPED.value, kind
    status, _ = judge_quality(quality, min_score)
    if status is Status.ACCEPTED:
        return status.value, ""
    verdict = (quality.rejection or ("", ""))[0]
    return status.value, next((one.name for one in quality.results if one.verdict == verdict), "score")
