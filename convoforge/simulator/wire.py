"""What every call to the simulator has in common: who asks, the body, and how an answer or an error goes out, whole or broken."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from convoforge.simulator.answers import event
from convoforge.simulator.reading import ApiError

SIGNATURE = "x-convoforge-simulator"
WRONG_KEYS = "sk-sim-wrong"
"""Keys that begin like this are refused."""

HTML = "<!doctype html><html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JsonHandler = Callable[[web.Request], Awaitable[dict[str, Any]]]


def endpoint(handler: JsonHandler) -> Handler:
    """A route that answers with a JSON object, or with an error in the API's shape."""

    async def answered(request: web.Request) -> web.StreamResponse:
        headers = signed()
        try:
            return json_response(200, await handler(request), headers)
        except ApiError as error:
            return error_response(error, headers)

    return answered


def signed() -> dict[str, str]:
    """The headers of an answer to a call that is in no books."""
    return {SIGNATURE: "1", "request-id": f"req_sim_{secrets.token_hex(8)}"}


async def send(request: web.Request, headers: dict[str, str], kind: str, chunks: list[bytes]) -> web.StreamResponse:
    """The answer as far as the fault lets it through; `chunks` are events of a stream, or the one JSON body."""
    streamed, half = len(chunks) > 1, len(chunks) // 2
    content_type = "text/event-stream" if streamed else "application/json"
    if kind == "hang":
        await asyncio.Event().wait()  # ends when the client leaves: that cancels the handler
    elif kind == "html":
        content_type, chunks = "text/html", [HTML.encode()]
    elif kind == "broken_json":
        chunks = [*chunks[:half], chunks[half][: len(chunks[half]) // 2], b"\n\n" if streamed else b""]
    elif kind == "stream_error":
        error = ApiError(529)
        chunks = [*chunks[:half], event("error", **error.body(headers["request-id"]))]
    elif kind == "stream_end":
        chunks = chunks[:-2]
    body = b"".join(chunks)
    if kind == "reset":
        begun = web.StreamResponse(headers={**headers, "content-type": content_type, "content-length": str(len(body))})
        await begun.prepare(request)
        await begun.write(body[: len(body) // 2])
        hang_up(request)
        return begun
    return web.Response(body=body, headers={**headers, "content-type": content_type})


def hang_up(request: web.Request) -> None:
    """Drop the connection, after what was written so far."""
    if request.transport:
        request.transport.close()


def key_of(request: web.Request) -> str:
    """The API key, empty where there is none."""
    return request.headers.get("authorization", "").removeprefix("Bearer ").strip() or request.headers.get("x-api-key", "")


def authenticate(key: str) -> None:
    """Raises the 401 for a key that is missing or wrong."""
    if not key:
        raise ApiError(401, "x-api-key header is required")
    if key.startswith(WRONG_KEYS):
        raise ApiError(401, "invalid x-api-key")


async def body_of(request: web.Request) -> bytes:
    """The body. Raises the 413 where it is too long."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413) from None


def json_response(status: int, body: dict[str, Any], headers: dict[str, str]) -> web.Response:
    """A JSON body with these headers."""
    return web.Response(status=status, body=orjson.dumps(body), headers={**headers, "content-type": "application/json"})


def error_response(error: ApiError, headers: dict[str, str]) -> web.Response:
    """An error as the API words it."""
    waiting = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
    return json_response(error.status, error.body(headers["request-id"]), {**headers, **waiting})
