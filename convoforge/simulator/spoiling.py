"""Answers as servers in between have sent them: pages of a proxy, and sound messages in a shape that not every client reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from convoforge.simulator.answers import event
from convoforge.simulator.faults import REFUSALS, Fault

_PAGE = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1><p>Just a moment, please.</p></body></html>"
_BIG = "x" * 60_000


def page(fault: Fault, headers: Mapping[str, str]) -> web.Response:
    """What a proxy answers for itself: a web page, or a line of text."""
    if fault.kind in REFUSALS:
        status, text = REFUSALS[fault.kind]
        return web.Response(status=status, text=fault.message or text, headers=headers)
    text = _PAGE.format(fault.message or "Just a moment...")
    return web.Response(status=fault.status or 200, text=text, content_type="text/html", headers=headers)


def spoilt(fault: Fault, message: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    """A message as the fault lets it arrive."""
    message = {name: value for name, value in message.items() if name not in fault.without}
    body, more = orjson.dumps(message), {"content-type": "application/json"}
    match fault.kind:
        case "bom":
            body = b"\xef\xbb\xbf" + body
        case "nan":
            body = body[:-1] + b',"probability":NaN}'
        case "surrogate":
            body = body[:-1] + b',"note":"half a pair: \\ud83d"}'
        case "cut":
            body = body[: len(body) // 2]
        case "event_stream" | "event_error":
            body = _events(message, whole=fault.kind == "event_stream")
            more = {"content-type": "text/event-stream"}
        case "bad_gzip":
            more["content-encoding"] = "gzip"
        case "big_header":
            more["x-trace"] = _BIG
    return web.Response(body=body, headers={**headers, **more})


def _events(message: Mapping[str, Any], *, whole: bool) -> bytes:
    block = next(block for block in message["content"] if block["type"] == "text")
    out = [event("message_start", message={**message, "content": [], "stop_reason": None})]
    out.append(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    half = len(block["text"]) // 2
    out.append(event("content_block_delta", index=0, delta={"type": "text_delta", "text": block["text"][:half]}))
    if not whole:
        return b"".join([*out, event("error", error={"type": "overloaded_error", "message": "Overloaded"})])
    out.append(event("content_block_delta", index=0, delta={"type": "text_delta", "text": block["text"][half:]}))
    out.append(event("content_block_stop", index=0))
    out.append(event("message_delta", delta={"stop_reason": message["stop_reason"]}, usage=message["usage"]))
    return b"".join([*out, event("message_stop")])
