"""What the model answers, and how an answer looks on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from convoforge.models import Usage
from convoforge.simulator import talk
from convoforge.simulator.faults import Fault
from convoforge.simulator.reading import Asked, tokens
from convoforge.simulator.schema import fill

WANTS_CONVERSATION = re.compile("json|conversation|dialog", re.IGNORECASE)
DELTA_CHARACTERS = 500
EXPLANATION = "The request was declined for safety reasons."


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated answer."""

    text: str
    stop_reason: str
    stop_details: Mapping[str, Any] | None = None


def answer(asked: Asked, fault: Fault, seed: int) -> Answer:
    """The answer to a request, with the fault in it if it is one of `ODD`. The same for the same prompt and seed."""
    if fault.kind == "refusal":
        details = {"type": "refusal", "category": fault.category or "general_harms", "explanation": EXPLANATION}
        return Answer("", "refusal", details)
    text = _write(asked, fault.kind, asked.key + (seed << 64)) if fault.text is None else fault.text
    if fault.kind == "truncation":
        return Answer(text[: min(2 * len(text) // 3, 4 * asked.max_tokens)], "max_tokens")
    if fault.kind == "overflow":
        return Answer(text[: min(len(text) // 2, 4 * asked.max_tokens)], "model_context_window_exceeded")
    if len(text) > 4 * asked.max_tokens:
        return Answer(text[: 4 * asked.max_tokens], "max_tokens")
    return Answer(text, "end_turn")


def _write(asked: Asked, kind: str, seed: int) -> str:
    if kind == "prose":
        return talk.prose(asked.prompt, seed)
    if not asked.schema and not WANTS_CONVERSATION.search(asked.prompt):
        return talk.plain(asked.prompt, seed)
    turns = talk.conversation(asked.prompt, seed, weak=kind == "short")
    if kind == "wrong_roles":
        turns[1]["role"] = "user"
    text = orjson.dumps(fill(asked.schema, turns) if asked.schema else {"turns": turns}).decode()
    sometimes = not asked.schema and kind == "ok" and seed % 4 == 0
    return talk.fenced(text, seed) if sometimes or kind == "fenced" else text


def billed(read: Usage, answered: Answer, max_tokens: int) -> Usage:
    """What an answer costs in tokens: the input as it was read, and the output, where even an empty answer is one token."""
    output = max(tokens(len(answered.text)), min(1, max_tokens))
    return Usage(read.input_tokens, output, read.cache_read_tokens, read.cache_write_5m_tokens, read.cache_write_1h_tokens)


def usage_block(usage: Usage, tier: str = "standard") -> dict[str, Any]:
    """Usage as the API tells it; `tier` is `batch` for what costs half."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": tier,
    }


def message(message_id: str, model: str, answered: Answer, usage: Usage, tier: str = "standard") -> dict[str, Any]:
    """The body of an answer."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": answered.text}] if answered.text else [],
        "stop_reason": answered.stop_reason,
        "stop_sequence": None,
        "stop_details": answered.stop_details,
        "usage": usage_block(usage, tier),
    }


def events(message_id: str, model: str, answered: Answer, usage: Usage) -> list[bytes]:
    """The same as server-sent events: the text in pieces, the stop reason and the final usage in the last but one."""
    begun = message(message_id, model, Answer("", ""), replace(usage, output_tokens=min(1, usage.output_tokens)))
    out = [event("message_start", message={**begun, "stop_reason": None})]
    if answered.text:
        out.append(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
        out.append(event("ping"))
        for at in range(0, len(answered.text), DELTA_CHARACTERS):
            delta = {"type": "text_delta", "text": answered.text[at : at + DELTA_CHARACTERS]}
            out.append(event("content_block_delta", index=0, delta=delta))
        out.append(event("content_block_stop", index=0))
    ending = {"stop_reason": answered.stop_reason, "stop_sequence": None, "stop_details": answered.stop_details}
    out.append(event("message_delta", delta=ending, usage=usage_block(usage)))
    out.append(event("message_stop"))
    return out


def event(name: str, **data: Any) -> bytes:
    """One server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **data}))
