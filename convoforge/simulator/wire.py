"""Code common to all calls: authentication, reading the body, and sending an answer or an error, intact or broken."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from convoforge.simulator.faults import REFUSALS, ApiError, Fault

SIGNATURE = "x-convoforge-simulator"
HEADERS = web.RequestKey("headers", dict[str, str])
"""The response headers of a call."""

WRONG_KEYS = "sk-sim-wrong"
"""Prefix of keys that are refused."""

HTML = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1><p>Just a moment, please.</p></body></html>"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set the response headers of every call, and answer an `ApiError` in the API's format."""
    headers = request[HEADERS] = sign()
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error, headers)


def answer_json(handler: Callable[[web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    """Make a route that answers with a JSON object."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body, headers = await handler(request), request[HEADERS]
        return json_response(200, body, headers)

    return answer


def sign(request_id: str | None = None) -> dict[str, str]:
    """The headers of every answer; with a random id if the call has no row in the usage log."""
    return {SIGNATURE: "1", "request-id": request_id or f"req_sim_{secrets.token_hex(8)}"}


async def send(request: web.Request, headers: Mapping[str, str], fault: Fault, body: Mapping[str, Any]) -> web.StreamResponse:
    """Send the answer, damaged or cut short as the fault demands."""
    content, more = orjson.dumps(fault.apply_fields(body)), {"content-type": "application/json"}
    half = len(content) // 2
    match fault.kind:
        case "hang":
            await asyncio.Event().wait()  # ends when the client leaves: that cancels the handler
        case "html":
            content, more = HTML.format("Bad gateway").encode(), {"content-type": "text/html"}
        case "broken_json" | "cut":
            content = content[:half]
        case "reset":
            begun = web.StreamResponse(headers={**headers, **more, "content-length": str(len(content))})
            await begun.prepare(request)
            await begun.write(content[:half])
            hang_up(request)
            return begun
        case "bom":
            content = b"\xef\xbb\xbf" + content
        case "nan":
            content = content[:-1] + b',"probability":NaN}'
        case "surrogate":
            content = content[:-1] + b',"note":"half a pair: \\ud83d"}'
        case "event_stream" | "event_error":
            content, more = _write_events(body, whole=fault.kind == "event_stream"), {"content-type": "text/event-stream"}
        case "bad_gzip":
            more["content-encoding"] = "gzip"
        case "big_header":
            more["x-trace"] = "x" * 60_000
    return web.Response(body=content, headers={**headers, **more})


def send_page(fault: Fault, headers: Mapping[str, str]) -> web.Response:
    """The answer of a proxy: a web page, or a line of text."""
    if fault.kind in REFUSALS:
        status, text = REFUSALS[fault.kind]
        return web.Response(status=status, text=fault.message or text, headers=headers)
    text = HTML.format(fault.message or "Just a moment...")
    return web.Response(status=fault.status or 200, text=text, content_type="text/html", headers=headers)


def _write_events(message: Mapping[str, Any], *, whole: bool) -> bytes:
    """A message as the stream of events that some proxies send without being asked. If not `whole`, it ends in an error."""

    def event(name: str, **data: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **data}))

    text = next(block["text"] for block in message["content"] if block["type"] == "text")
    half = len(text) // 2
    events = [
        event("message_start", message={**message, "content": [], "stop_reason": None}),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text[:half]}),
    ]
    if not whole:
        return b"".join([*events, event("error", error={"type": "overloaded_error", "message": "Overloaded"})])
    return b"".join([
        *events,
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text[half:]}),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": message["stop_reason"]}, usage=message["usage"]),
        event("message_stop"),
    ])  # fmt: skip


def hang_up(request: web.Request) -> None:
    """Close the connection after the bytes written so far."""
    if request.transport:
        request.transport.close()


def has_left(request: web.Request) -> bool:
    """Whether the client has closed the connection."""
    return request.transport is None or request.transport.is_closing()


def read_key(request: web.Request) -> str:
    """The API key; empty if there is none."""
    return request.headers.get("authorization", "").removeprefix("Bearer ").strip() or request.headers.get("x-api-key", "")


def authenticate(request: web.Request) -> str:
    """The API key. Raises the 401 if it is missing or wrong."""
    key = read_key(request)
    if not key:
        raise ApiError(401, "x-api-key header is required")
    if key.startswith(WRONG_KEYS):
        raise ApiError(401, "invalid x-api-key")
    return key


async def read_body(request: web.Request) -> bytes:
    """The body. Raises the 413 if it is too long."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413) from None


def json_response(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    """A response with a JSON body."""
    return web.Response(status=status, body=orjson.dumps(body), headers={**headers, "content-type": "application/json"})


def error_response(error: ApiError, headers: Mapping[str, str], *, status: int | None = None) -> web.Response:
    """An error response in the API's format; `status` overrides the error's own (`error_in_200`)."""
    retry_after = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
    return json_response(status or error.status, error.body(headers["request-id"]), {**headers, **retry_after})
