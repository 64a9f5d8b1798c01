"""The application: routes, the generator behind them, and what becomes of callers who leave.

There is no authentication: listen on loopback, or put something in front that has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoforge.adhoc import ConversationGenerator, open_generator
from convoforge.api.bodies import (
    BatchBody,
    BatchData,
    BatchDone,
    BatchItem,
    Breakdown,
    ConversationBody,
    ErrorBody,
    Failure,
    GenerateBody,
    Generated,
    Health,
    Metadata,
    RateBody,
    RateDone,
    Summary,
    TurnBody,
)
from convoforge.api.errors import INTERNAL, explain, hidden_in, refuse, retry_after
from convoforge.capabilities import takes_temperature
from convoforge.errors import ConvoforgeError, GateClosed
from convoforge.models import ConversationRequest, Outcome, Status
from convoforge.settings import Settings
from convoforge.spec import DatasetSpec

BODY_BYTES = 1_000_000
CLIENT_LEFT = 499
"""The status in the log where nobody is left to read it; nginx's number."""

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": words}
    for status, words in {
        400: "The request cannot work: nothing was sent or paid",
        422: "The answer holds no valid conversation; it was paid",
        429: "The rate is used up and the queue is off; see Retry-After",
        500: "A fault of this server",
        502: "The Claude API failed, or what it said could not be read",
        503: "The server is stopping, or its budget is used up",
    }.items()
}


def make_app(settings: Settings | None = None, *, spec: DatasetSpec | None = None, simulate: bool = False) -> FastAPI:
    """The application. `spec` brings model, limits, retries and budget; else the seed's defaults hold (see `open_generator`).

    The generator is opened when the server starts, which then fails as `open_generator` does, and drains when it stops.
    """
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_generator(settings=settings, spec=spec, simulate=simulate) as app.state.generator:
            yield

    app = FastAPI(title="convoforge", version=version("convoforge"), lifespan=lifespan)
    app.state.hidden = hidden_in(settings)
    app.include_router(_conversations)
    app.add_api_route("/healthz", health, responses={503: _FAILURES[503]})
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(StarletteHTTPException, _unroutable)
    app.add_exception_handler(ConvoforgeError, _failed)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(BodyLimit, most=BODY_BYTES)
    return app


def _generator(request: Request) -> ConversationGenerator:
    opened: ConversationGenerator = request.app.state.generator
    return opened


Opened = Annotated[ConversationGenerator, Depends(_generator)]
_conversations = APIRouter(prefix="/api/conversations")


@_conversations.post("/generate", status_code=201, response_model=Generated, responses=_FAILURES)
async def generate(body: GenerateBody, request: Request, generator: Opened) -> Generated | JSONResponse:
    """Generate one conversation."""
    outcome = await _while_connected(request, generator.generate(body))
    return _generated(body, outcome, generator.model) or _failure(request, outcome.error, outcome)


@_conversations.post("/generate-batch", status_code=201, responses={status: _FAILURES[status] for status in (400, 422, 500)})
async def generate_batch(body: BatchBody, request: Request, generator: Opened) -> BatchDone:
    """Generate 1 to 100 conversations. One that fails is told in its place; the others go on, unless `stopOnError` is set."""
    options = body.options
    outcomes = await _while_connected(
        request,
        generator.generate_batch(body.requests, concurrency=options.concurrency, stop_on_error=options.stop_on_error),
    )
    results = [_item(request, one, outcome, generator.model) for one, outcome in zip(body.requests, outcomes, strict=True)]
    counts = {status: sum(item.status == status for item in results) for status in ("failed", "skipped")}
    summary = Summary(
        total=len(results),
        successful=len(results) - sum(counts.values()),
        **counts,
        total_cost=float(sum((outcome.cost_usd for outcome in outcomes if outcome), start=Decimal(0))),
    )
    return BatchDone(data=BatchData(summary=summary, results=results))


@_conversations.get("/generate")
async def rate_status(generator: Opened) -> RateDone:
    """Where the rate stands."""
    now = generator.status()
    return RateDone(
        data=RateBody(
            used=now.used,
            remaining=now.remaining,
            reset_at=now.reset_at,
            queue_length=now.queue_length,
            is_paused=now.is_paused,
        )
    )


async def health(generator: Opened) -> Health:
    """Whether anything can be generated; 503 where it cannot, until the server is started anew."""
    if generator.stopped is not None:
        raise GateClosed(generator.stopped)
    return Health(model=generator.model)


class BodyLimit:
    """Refuses bodies above `most` bytes, while they arrive."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, f"the body is larger than {self._most} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Where the caller leaves first, what still waits is taken back: nobody pays for what nobody waits for."""
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(CLIENT_LEFT)
        return task.result()
    finally:
        leaving.cancel()
        task.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _generated(request: ConversationRequest, outcome: Outcome, model: str) -> Generated | None:
    conversation, quality = outcome.conversation, outcome.quality
    if conversation is None or quality is None:
        return None
    assert outcome.conversation_id
    assert outcome.provider
    assert outcome.finished_at
    return Generated(
        data=ConversationBody(
            conversation_id=outcome.conversation_id,
            template_id=request.template,
            persona=request.persona,
            emotion=request.emotion,
            topic=request.topic,
            tier=request.tier,
            system=conversation.system,
            turns=[TurnBody(role=turn.role, content=turn.content) for turn in conversation.turns],
        ),
        metadata=Metadata(
            status="generated" if outcome.status is Status.ACCEPTED else "needs_revision",
            quality_score=quality.score,
            quality_breakdown=Breakdown(
                turns=quality.turns, length=quality.length, structure=quality.structure, reasons=list(quality.reasons)
            ),
            cost_usd=float(outcome.cost_usd),
            duration_ms=outcome.duration_ms,
            input_tokens=outcome.usage.input_tokens,
            output_tokens=outcome.usage.output_tokens,
            cache_read_tokens=outcome.usage.cache_read_tokens,
            cache_write_tokens=outcome.usage.cache_write_tokens,
            attempts=outcome.attempts,
            temperature_applied=None if request.temperature is None else takes_temperature(model),
            model=model,
            provider=outcome.provider,
            api_request_id=outcome.api_request_id,
            generated_at=outcome.finished_at,
        ),
    )


def _item(request: Request, asked: ConversationRequest, outcome: Outcome | None, model: str) -> BatchItem:
    if outcome is None:
        return BatchItem(status="skipped")
    generated = _generated(asked, outcome, model)
    if generated is None:
        return BatchItem(status="failed", error=_explained(request, outcome.error, outcome)[1])
    return BatchItem(status=generated.metadata.status, data=generated.data, metadata=generated.metadata)


def _explained(request: Request, error: Exception | None, outcome: Outcome | None = None) -> tuple[int, ErrorBody]:
    error = error or RuntimeError("an outcome with neither conversation nor error")
    status, body = explain(error, request.app.state.hidden, outcome)
    if status == INTERNAL:
        _LOG.error("%s failed", request.url.path, exc_info=error)
    return status, body


def _failure(request: Request, error: Exception | None, outcome: Outcome | None = None) -> JSONResponse:
    status, body = _explained(request, error, outcome)
    return _json(status, body, retry_after(error) if error else {})


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return _failure(request, error)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _json(400, refuse(error.errors(), BatchBody if request.url.path.endswith("-batch") else GenerateBody))


async def _unroutable(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    name = {400: "ValidationError", 404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge"}.get(error.status_code, "HTTPError")
    return _json(error.status_code, ErrorBody(type=name, message=str(error.detail)), error.headers)


def _json(status: int, error: ErrorBody, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": error.model_dump(mode="json", by_alias=True)}, status, headers)
