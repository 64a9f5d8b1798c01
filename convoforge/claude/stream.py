"""An answer that came as a stream of events, though none was asked for: some proxies always stream. It is paid, so it is put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson


def is_event_stream(body: bytes, content_type: str) -> bool:
    """Whether a body is server-sent events."""
    return "event-stream" in content_type.lower() or body.lstrip().startswith((b"event:", b"data:"))


def assemble_message(body: bytes) -> Mapping[str, Any] | None:
    """The message that the events are, as far as it came: without a `stop_reason` where they end early. An error among them is returned
    instead, as the API words one: `{"type": "error", …}`. None where there is no message in them."""
    try:
        return _message(body)
    except (KeyError, IndexError, TypeError, AttributeError):  # events that are none of the API's
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
        except orjson.JSONDecodeError:  # the last one may be cut; `[DONE]` is another dialect's end
            continue
        if isinstance(event, dict):
            yield event
