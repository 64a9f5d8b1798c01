"""The routes that make conversations, and tell where the rate stands."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from convoforge.adhoc import ConversationGenerator
from convoforge.api.bodies import BatchBody, BatchDone, BatchFailed, Failure, GenerateBody, Generated, RateBody, RateDone
from convoforge.api.bounds import BoundedRoute
from convoforge.api.errors import CLIENT_LEFT
from convoforge.api.rendering import all_failed, batch_data, failure, generated

T = TypeVar("T")


def told(*statuses: int, model: Any = Failure) -> dict[int | str, dict[str, Any]]:
    """What the API's description says of these statuses."""
    return {status: {"model": model, "description": WORDS[status]} for status in statuses}


WORDS = {
    400: "The request cannot work: nothing was sent or paid",
    401: "The server wants a token, and this is none of its tokens",
    404: "There is no such thing",
    405: "The path does not take this method; `Allow` names those that it takes",
    408: "The request did not arrive in time",
    413: "The body is larger than 1,000,000 bytes",
    421: "The request is for another host",
    422: "The answer holds no valid conversation; it was paid",
    429: "The rate is used up and the request may not wait so long; see Retry-After",
    500: "A fault of this server",
    502: "The Claude API failed, or what it said could not be read",
    503: "The server is stopping, or no request can work now, or its budget is used up; see Retry-After",
}
BATCH_FAILED = "Nothing in the batch succeeded; the status is that of the worst failure"
EVERYWHERE = told(401, 404, 405, 408, 421)


def opened(request: Request) -> ConversationGenerator:
    """The generator behind the routes."""
    generator: ConversationGenerator = request.app.state.generator
    return generator


Opened = Annotated[ConversationGenerator, Depends(opened)]
router = APIRouter(prefix="/api/conversations", route_class=BoundedRoute, responses=EVERYWHERE)


@router.post("/generate", status_code=201, response_model=Generated, responses=told(400, 413, 422, 429, 500, 502, 503))
async def generate(body: GenerateBody, request: Request, generator: Opened) -> Generated | JSONResponse:
    """Generate one conversation."""
    outcome = await _while_connected(request, generator.generate(body))
    return generated(body, outcome, generator.model) or failure(request, outcome.error, outcome)


@router.post(
    "/generate-batch",
    status_code=201,
    response_model=BatchDone,
    responses={
        **told(413, 500),
        **{status: {"model": Failure | BatchFailed, "description": f"{WORDS[status]}. {BATCH_FAILED}"} for status in (400, 422)},
        **{status: {"model": BatchFailed, "description": BATCH_FAILED} for status in (429, 502, 503)},
    },
)
async def generate_batch(body: BatchBody, request: Request, generator: Opened) -> BatchDone | JSONResponse:
    """Generate 1 to 100 conversations. One that fails is told in its place; the others go on, unless `stopOnError` is set."""
    options = body.options
    outcomes = await _while_connected(
        request,
        generator.generate_batch(body.requests, concurrency=options.concurrency, stop_on_error=options.stop_on_error),
    )
    data = batch_data(request, body.requests, outcomes, generator.model)
    return BatchDone(data=data) if data.summary.successful else all_failed(request, data, outcomes)


@router.get("/generate")
async def rate_status(generator: Opened) -> RateDone:
    """Where the rate stands."""
    now = generator.status()
    return RateDone(
        data=RateBody(
            used=now.used,
            remaining=now.remaining,
            reset_at=now.reset_at or datetime.now(UTC),
            queue_length=now.queue_length,
            is_paused=now.is_paused,
        )
    )


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
