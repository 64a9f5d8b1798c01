"""Assembles an answer that came as a stream of events: some proxies always stream, even if not asked to. The answer is paid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson


def is_event_stream(body: bytes, content_type: str) -> bool:
    """Whether a body is server-sent events."""
    return "event-stream" in content_type.lower() or body.lstrip().startswith((b"event:", b"data:"))


def assemble_message(body: bytes) -> Mapping[str, Any] | None:
    """Assemble the message from its events; without a `stop_reason` if they end early. An error event is returned instead, as the
    API sends it: `{"type": "error", …}`. None if the events hold no message."""
    try:
        return _message(body)
    except (KeyError, IndexError, TypeError, AttributeError):  # not the API's events
        return None


def _message(body: bytes) -> Mapping[str, Any] | None:
    message: dict[str, Any] | None = None
    for event in _events(body):
        match event.get("type"):
            case "error":
                return event
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start" if message is not None:
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta" if message is not None and event["delta"].get("type") == "text_delta":
                block = message["content"][event["index"]]
                block["text"] = block.get("text", "") + event["delta"]["text"]
            case "message_delta" if message is not None:
                message |= event.get("delta") or {}
                message["usage"] = {**(message.get("usage") or {}), **(event.get("usage") or {})}
    return message


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for text in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"\n".join(line.removeprefix(b"data:").strip() for line in text.split(b"\n") if line.startswith(b"data:"))
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:  # the last event may be cut off; other APIs end with `[DONE]`
            continue
        if isinstance(event, dict):
            yield event
