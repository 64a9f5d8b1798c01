"""What the model answers, and how an answer looks on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from convoforge.models import Usage
from convoforge.simulator import dialogue
from convoforge.simulator.faults import Fault
from convoforge.simulator.reading import ParsedRequest
from convoforge.simulator.schema import fill
from convoforge.simulator.thinking import SUMMARY

WANTS_CONVERSATION = re.compile("json|conversation|dialog", re.IGNORECASE)
DELTA_CHARACTERS = 500
SIGNATURE = "c2ltdWxhdGVkIHRob3VnaHRz"
EXPLANATION = "The request was declined for safety reasons."


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A generated answer. `thinking_tokens` were thought before the text; `thoughts` are the words of it, as far as they are shown;
    `told` is what its usage says beside the tokens, or in their place."""

    text: str
    stop_reason: str
    stop_details: Mapping[str, Any] | None = None
    thinking_tokens: int = 0
    thoughts: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content: thoughts with their signature, then the text, each where there is any."""
        thought = {"type": "thinking", "thinking": self.thoughts, "signature": SIGNATURE}
        said = {"type": "text", "text": self.text}
        return [block for block, there in ((thought, self.thinking_tokens), (said, self.text)) if there]


def answer(asked: ParsedRequest, fault: Fault, seed: int) -> WrittenAnswer:
    """The answer to a request, with the fault in it if it is one of `ODD`. The same for the same prompt and seed."""
    if fault.kind == "refusal":
        details = {"type": "refusal", "category": fault.category or "general_harms", "explanation": EXPLANATION}
        return WrittenAnswer("", "refusal", details)
    text = _write(asked, fault.kind, asked.key + (seed << 64)) if fault.text is None else fault.text
    thought = asked.thinking_tokens
    most, stop = asked.model.characters_a_token * (asked.max_tokens - thought), "end_turn"
    if fault.kind == "truncation":
        most, stop = min(2 * len(text) // 3, most), "max_tokens"
    elif fault.kind == "overflow":
        most, stop = min(len(text) // 2, most), "model_context_window_exceeded"
    elif len(text) > most:
        stop = "max_tokens"
    return WrittenAnswer(text[:most], stop, thinking_tokens=thought, thoughts=SUMMARY if asked.thinking.shown else "")


def _write(asked: ParsedRequest, kind: str, seed: int) -> str:
    if kind == "prose":
        return dialogue.prose(asked.prompt, seed)
    if not asked.schema and not WANTS_CONVERSATION.search(asked.prompt):
        return dialogue.plain(asked.prompt, seed)
    turns = dialogue.conversation(asked.prompt, seed, weak=kind == "short")
    if kind == "wrong_roles":
        turns[1]["role"] = "user"
    text = orjson.dumps(fill(asked.schema, turns) if asked.schema else {"turns": turns}).decode()
    sometimes = not asked.schema and kind == "ok" and seed % 4 == 0
    return dialogue.fenced(text, seed) if sometimes or kind == "fenced" else text


def billed(read: Usage, answered: WrittenAnswer, asked: ParsedRequest) -> Usage:
    """What an answer costs in tokens: the input as it was read, and the output, where even an empty answer is one token."""
    output = max(answered.thinking_tokens + asked.model.tokens(len(answered.text)), min(1, asked.max_tokens))
    return replace(read, output_tokens=output, thinking_tokens=answered.thinking_tokens)


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
        "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
        "service_tier": tier,
        "inference_geo": "global",
    }


def message(message_id: str, model: str, answered: WrittenAnswer, usage: Usage, tier: str = "standard") -> dict[str, Any]:
    """The body of an answer."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": answered.blocks,
        "stop_reason": answered.stop_reason,
        "stop_sequence": None,
        "stop_details": answered.stop_details,
        "usage": {**usage_block(usage, tier), **answered.told},
    }


def events(message_id: str, model: str, answered: WrittenAnswer, usage: Usage) -> list[bytes]:
    """The same as server-sent events: the text in pieces, the stop reason and the final usage in the last but one."""
    at_first = replace(usage, output_tokens=min(1, usage.output_tokens), thinking_tokens=0)
    begun = message(message_id, model, WrittenAnswer("", ""), at_first)
    out = [event("message_start", message={**begun, "stop_reason": None})]
    for index, block in enumerate(answered.blocks):
        out += _block_events(index, block)
    ending = {"stop_reason": answered.stop_reason, "stop_sequence": None, "stop_details": answered.stop_details}
    out.append(event("message_delta", delta=ending, usage={**usage_block(usage), **answered.told}))
    out.append(event("message_stop"))
    return out


def _block_events(index: int, block: Mapping[str, Any]) -> list[bytes]:
    kind = block["type"]
    text = block[kind]
    empty = {**block, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
    out = [event("content_block_start", index=index, content_block=empty), event("ping")]
    deltas = [{"type": f"{kind}_delta", kind: text[at : at + DELTA_CHARACTERS]} for at in range(0, len(text), DELTA_CHARACTERS)]
    if kind == "thinking":
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    out += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return [*out, event("content_block_stop", index=index)]


def event(name: str, **data: Any) -> bytes:
    """One server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **data}))
