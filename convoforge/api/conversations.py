"""Routes that generate, search and find conversations, and show the rate limit."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel
from starlette.convertors import StringConvertor, register_url_convertor

from convoforge.api.access import requires
from convoforge.api.bodies import (
    SIMULATED,
    BatchBody,
    BatchData,
    BatchFailed,
    Data,
    Failure,
    GenerateBody,
    Generated,
    RateBody,
)
from convoforge.api.bounds import BoundedRoute
from convoforge.api.data_bodies import FoundConversation, FoundPage, SearchQuery
from convoforge.api.errors import CLIENT_LEFT
from convoforge.api.idempotency import Keys, Work
from convoforge.api.rendering import all_failed, batch_data, failure, generated, refusal, success
from convoforge.dataset.browse import find as find_page
from convoforge.errors import ConfigError, LimiterClosed
from convoforge.generation.kept_requests import KeptRequests
from convoforge.generation.requests import RequestGenerator
from convoforge.models import ConversationRequest, Outcome, Provider
from convoforge.viewer.state import Opened as OpenedViewer
from convoforge.viewer.state import Which

_LOG = logging.getLogger(__name__)


def describe(*statuses: int, model: Any = Failure) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI descriptions of these statuses."""
    return {status: {"model": model, "description": WORDS[status]} for status in statuses}


WORDS = {
    202: "It is under way",
    400: "The request cannot work: nothing was sent or paid",
    401: "The server wants a token, and this is none of its tokens",
    403: "The token may not do this; or a web page of another server asks",
    404: "There is no such thing",
    405: "The path does not take this method; `Allow` names those that it takes",
    408: "The request did not arrive in time",
    409: "The request with this Idempotency-Key is under way, or what it is about has changed meanwhile",
    413: "The body is larger than 1,000,000 bytes",
    421: "The request is for another host",
    422: "The answer holds no valid conversation; it was paid. Or the Idempotency-Key was used for another request",
    429: "The rate is used up and the request may not wait so long; see Retry-After",
    500: "A fault of this server",
    502: "The Claude API failed, or its answer could not be read",
    503: "The server is stopping, or no request can work now, or its budget is used up; see Retry-After",
}
BATCH_FAILED = "Nothing in the batch succeeded; the status is that of the worst failure"
EVERYWHERE = describe(400, 401, 403, 404, 405, 408, 421)


NO_KEY = (
    "no API key: this server shows and reviews datasets, and generates nothing; set ANTHROPIC_API_KEY, or serve with --simulate"
)


def opened(request: Request) -> RequestGenerator:
    """The generator behind the routes. Raises `LimiterClosed` where the server has no key to generate with."""
    generator: RequestGenerator | None = request.app.state.generator
    if generator is None:
        raise LimiterClosed(NO_KEY)
    return generator


def kept_requests(request: Request) -> KeptRequests:
    """What the ledger keeps of requests; of paid ones where the server has no key to generate with."""
    generator: RequestGenerator | None = request.app.state.generator
    return generator.kept if generator else KeptRequests(request.app.state.ledger, "anthropic")


def choose_provider(
    kept: Annotated[KeptRequests, Depends(kept_requests)],
    simulated: Annotated[bool | None, Query(description=SIMULATED)] = None,
) -> Provider:
    """Whose data is asked for: that of the server's own provider, unless `simulated` says it."""
    return kept.provider if simulated is None else "simulator" if simulated else "anthropic"


class ConversationId(StringConvertor):
    """The id of a conversation (24 hex digits) or of a request (32)."""

    regex = "[0-9a-f]{24}(?:[0-9a-f]{8})?"


register_url_convertor("conversation", ConversationId())

Read, Generate, Either = requires("read"), requires("generate"), requires("read", "generate")
Opened = Annotated[RequestGenerator, Depends(opened)]
Kept = Annotated[KeptRequests, Depends(kept_requests)]
Chosen = Annotated[Provider, Depends(choose_provider)]
Key = Annotated[
    str | None, Header(description="Makes a request that is sent again the same one: up to 255 characters, for a day.")
]
router = APIRouter(prefix="/api/conversations", route_class=BoundedRoute, responses=EVERYWHERE)


@router.post(
    "/generate",
    status_code=201,
    response_model=Generated,
    responses=describe(400, 409, 413, 422, 429, 500, 502, 503),
    dependencies=[Generate],
)
async def generate(body: GenerateBody, request: Request, generator: Opened, idempotency_key: Key = None) -> Response:
    """Generate one conversation. With an `Idempotency-Key` it is generated and paid once, however often it is sent."""

    async def work(name: str) -> tuple[Response, bool]:
        outcome = await generator.generate(body, name=name)
        return _response(request, body, outcome, generator.model, name), outcome.kind is not None

    return await _answer(request, idempotency_key, body, work)


@router.post(
    "/generate-batch",
    status_code=201,
    response_model=Data[BatchData],
    responses={
        **describe(409, 413, 500),
        **{status: {"model": Failure | BatchFailed, "description": f"{WORDS[status]}. {BATCH_FAILED}"} for status in (400, 422)},
        **{status: {"model": BatchFailed, "description": BATCH_FAILED} for status in (429, 502, 503)},
    },
    dependencies=[Generate],
)
async def generate_batch(body: BatchBody, request: Request, generator: Opened, idempotency_key: Key = None) -> Response:
    """Generate 1 to 100 conversations. A failed request has an error at its index; the others go on unless `stopOnError` is set.

    With an `Idempotency-Key` each is generated and paid once: if sent again, only those without an answer are tried again.
    """
    options = body.options

    async def work(name: str) -> tuple[Response, bool]:
        outcomes = await generator.generate_batch(
            body.requests, concurrency=options.concurrency, stop_on_error=options.stop_on_error, batch=name
        )
        data = batch_data(request, body.requests, outcomes, generator.model, name)
        kept = {"location": f"/api/batches/{name}"}
        response = success(Data(data=data), headers=kept) if data.summary.successful else all_failed(request, data, outcomes)
        final = all(one is None or one.kind is not None or isinstance(one.error, ConfigError) for one in outcomes)
        return response, final and any(one is not None and one.kind is not None for one in outcomes)

    return await _answer(request, idempotency_key, body, work)


@router.get("", responses=describe(500, 503), dependencies=[Read])
async def conversations(query: Annotated[SearchQuery, Query()], viewer: OpenedViewer, kept: Kept) -> Data[FoundPage]:
    """The conversations of a dataset that match, a page at a time. What each counts as may be some seconds old."""
    which = Which.of(query.dataset, choose_provider(kept, query.simulated))
    found = await viewer.run(lambda one: find_page(which.snapshot(one, with_texts=bool(query.text)), query, query.rows))
    rows = [FoundConversation.model_validate(row) for row in found.rows]
    return Data(data=FoundPage(conversations=rows, total=found.total, page=found.page, pages=found.pages))


@router.get("/generate", dependencies=[Either])
async def rate_status(generator: Opened) -> Data[RateBody]:
    """Current use of the rate limit."""
    now = generator.status()
    return Data(
        data=RateBody(
            used=now.used,
            remaining=now.remaining,
            reset_at=now.reset_at or datetime.now(UTC),
            queue_length=now.queue_length,
            waiting_for_cache=generator.waiting_for_cache,
            is_paused=now.is_paused,
        )
    )


@router.get("/{name:conversation}", response_model=Generated, responses=describe(202, 422, 502, model=Any), dependencies=[Either])
async def find(
    name: str,
    request: Request,
    kept: Kept,
    provider: Chosen,
) -> Response:
    """Find an earlier conversation by its id or its request's id; returns the request's error if it brought no conversation. With the
    scope `read`, conversations of datasets are found as well, as reviews have edited them.

    202 while it is in progress, or not scored yet; 404 if nothing was ever sent, or another answer has taken its place.
    """
    found = await kept.find(name, provider if "read" in request.state.scopes else None)
    if found is None:
        raise HTTPException(404, "there is no conversation, and no request that was sent, with this id")
    asked, state, outcome = found
    if outcome is None:
        if state == "claimed":
            return refusal(202, "Pending", "the request is under way", {"retry-after": "5"})
        if state == "held":
            return refusal(202, "Pending", "the conversation is not scored yet: a build scores it", {"retry-after": "60"})
        return refusal(404, "NotFound", "the request was sent and brought no answer: send it again")
    return _response(request, asked, outcome, outcome.model or "", name, 200)


def _response(
    request: Request, asked: ConversationRequest, outcome: Outcome, model: str, name: str, status: int = 201
) -> Response:
    body = generated(asked, outcome, model, name)
    if body is None:
        return failure(request, outcome.error, outcome)
    return success(body, status, {"location": f"/api/conversations/{body.data.conversation_id}"} if status == 201 else None)


async def _answer(request: Request, key: str | None, body: BaseModel, work: Work) -> Response:
    """The response to one request. Stops waiting when the caller disconnects."""
    keys: Keys = request.app.state.keys
    began, name = time.monotonic(), uuid.uuid4().hex
    if key is None:
        task = asyncio.create_task(_keyless(work(name)))
        stays = f"what was sent stays: GET /api/{'batches' if isinstance(body, BatchBody) else 'conversations'}/{name}"
    else:
        task = asyncio.create_task(keys.answer(request, key, body.model_dump_json(), work))
        stays = "it goes on, for the caller's Idempotency-Key"
    leaving = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            _LOG.warning("the caller of %s left after %.1f s; %s", request.url.path, time.monotonic() - began, stays)
            raise HTTPException(CLIENT_LEFT)
        return task.result()
    finally:
        leaving.cancel()
        task.cancel()  # requests still in the queue are withdrawn: nobody waits for them, so nobody pays


async def _keyless(work: Awaitable[tuple[Response, bool]]) -> Response:
    return (await work)[0]


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
