"""Writes the model's answers, and the response bodies for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from convoforge.candidates import count_candidates
from convoforge.models import Usage
from convoforge.simulator import dialogue
from convoforge.simulator.faults import Fault
from convoforge.simulator.reading import ParsedRequest

ASKS_FOR_CONVERSATION = re.compile("json|conversation|dialog", re.IGNORECASE)
THINKING_SIGNATURE = "c2ltdWxhdGVkIHRob3VnaHRz"
REPEATED = "Topic: an emergency fund"
"""What an answer that comes again and again is about."""
EXPLANATION = "The request was declined for safety reasons."
REFUSALS = (
    "I'm sorry, but I can't help with that request.",
    "I am unable to give advice on this. Please consult a licensed professional instead.",
)
ASIDES = (
    "As an AI language model, I do not have personal experience with this.",
    "Sure! Here is the conversation you asked for:",
)
ENDINGS = ("<|im_end|>", "[insert the client's name]", "Ã¼ber â€” 10 â‚¬", "Reach me at maria.keller@gmail.com.")


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A generated answer. `thinking_tokens` came before the text; `usage_fields` are added to the usage or replace fields of it."""

    text: str
    stop_reason: str
    stop_details: Mapping[str, Any] | None = None
    thinking_tokens: int = 0
    usage_fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content blocks: the thinking with its signature, then the text, each only if there is any."""
        thinking = {"type": "thinking", "thinking": "", "signature": THINKING_SIGNATURE}
        text = {"type": "text", "text": self.text}
        return [block for block, is_there in ((thinking, self.thinking_tokens), (text, self.text)) if is_there]


def write_answer(asked: ParsedRequest, fault: Fault, seed: int, usage_fields: Mapping[str, Any]) -> WrittenAnswer:
    """Write the answer to a request, with a fault of `ODD` in it. The same prompt and seed give the same answer."""
    if fault.kind == "refusal":
        details = {"type": "refusal", "category": fault.category or "general_harms", "explanation": EXPLANATION}
        return WrittenAnswer("", "refusal", details, usage_fields=usage_fields)
    text = _write_text(asked, fault.kind, asked.key + (seed << 64)) if fault.text is None else fault.text
    limit, stop = asked.model.characters_a_token * (asked.max_tokens - asked.thinking_tokens), "end_turn"
    if fault.kind == "truncation":
        limit, stop = min(2 * len(text) // 3, limit), "max_tokens"
    elif fault.kind == "overflow":
        limit, stop = min(len(text) // 2, limit), "model_context_window_exceeded"
    elif len(text) > limit:
        stop = "max_tokens"
    return WrittenAnswer(text[:limit], stop, thinking_tokens=asked.thinking_tokens, usage_fields=usage_fields)


def _write_text(asked: ParsedRequest, kind: str, seed: int) -> str:
    if kind == "prose":
        return dialogue.write_prose(asked.prompt, seed)
    if asked.criteria:
        from convoforge.simulator.judgment import write_judgment  # with scorers and templates: most simulators judge nothing

        return write_judgment(asked.prompt, asked.criteria, seed, misquoted=kind != "ok")
    if not asked.structured and not ASKS_FOR_CONVERSATION.search(asked.prompt):
        return dialogue.write_plain(asked.prompt, seed)
    prompt, seed = (REPEATED, 0) if kind == "repeated" else (asked.prompt, seed)
    turns = dialogue.write_conversation(prompt, seed, weak=kind == "short")
    count = count_candidates(asked.prompt)
    if kind == "faulty":
        _spoil_turn(turns, seed)
    if kind == "wrong_roles":
        turns[1]["role"] = "user"
    text = orjson.dumps(_write_candidates(asked.prompt, seed, turns, count) if count > 1 else {"turns": turns}).decode()
    has_fence = kind == "fenced" or (kind == "ok" and not asked.structured and seed % 4 == 0)
    return dialogue.add_fence(text, asked.prompt, seed) if has_fence else text


def _spoil_turn(turns: list[dict[str, str]], seed: int) -> None:
    """Put one fault into one of the assistant's turns; which, the seed decides. Filters find all of them."""
    said = [turn for turn in turns if turn["role"] == "assistant"]
    turn = said[seed // 16 % len(said)]
    match seed % 4:
        case 0:
            turn["content"] = REFUSALS[seed // 4 % len(REFUSALS)]
        case 1:
            turn["content"] = f"{ASIDES[seed // 4 % len(ASIDES)]} {turn['content']}"
        case 2:
            turn["content"] = f"{turn['content']} {ENDINGS[seed // 4 % len(ENDINGS)]}"
        case _:
            turns[-1]["content"] = turns[-1]["content"].rsplit(maxsplit=3)[0].rstrip(".,;:!?") + " because"


def _write_candidates(prompt: str, seed: int, first: Any, count: int) -> dict[str, Any]:
    """The first conversation, which has the request's fault, and other ones."""
    others = [dialogue.write_conversation(prompt, seed + (number << 72)) for number in range(1, count)]
    said = [round(0.5 / (1 + number) ** 2, 3) for number in range(count)]
    return {"candidates": [{"likelihood": one, "turns": turns} for one, turns in zip(said, [first, *others], strict=True)]}


def count_usage(read: Usage, answer: WrittenAnswer, asked: ParsedRequest) -> Usage:
    """The billed usage of an answer: the input from `read`, and the output, which is at least one token."""
    output = max(answer.thinking_tokens + asked.model.count_tokens(len(answer.text)), 1)
    return replace(read, output_tokens=output, thinking_tokens=answer.thinking_tokens)


def make_message(message_id: str, model: str, answer: WrittenAnswer, usage: Usage, tier: str = "standard") -> dict[str, Any]:
    """Make the response body of an answer; `tier` is `batch` in a message batch."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": answer.blocks,
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "stop_details": answer.stop_details,
        "usage": {
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
            **answer.usage_fields,
        },
    }
