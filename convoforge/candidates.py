"""Several conversations in one answer, of which the best is kept: `generation: {candidates: 3}`. Pure.

Asked for one conversation, a model writes the likeliest again and again. Asked for several, and how likely it would write each of them, it
writes others as well ("verbalized sampling"). An answer is paid for once, whatever of it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from convoforge.errors import GenerationValidationError, ParseError
from convoforge.models import Conversation
from convoforge.parsing import ANSWER_SCHEMA, check_turns, find_turn_lists

CANDIDATES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "candidates": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"likelihood": {"type": "number"}, **ANSWER_SCHEMA["properties"]},
                "required": ["likelihood", "turns"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["candidates"],
    "additionalProperties": False,
}
"""The JSON schema of an answer with several conversations. The API takes no counts."""

_ASKED = "Write {} conversations for all of the above, not one. "
_COUNT = re.compile(_ASKED.format(r"(\d+)"))
_SHAPE = (
    ' Answer with one JSON object and nothing else: {"candidates": [{"likelihood": 0.4, "turns": [{"role": "user", "content": "..."}, '
    '{"role": "assistant", "content": "..."}]}]}. In each, the first turn is the user\'s, roles alternate, the last turn is the '
    "assistant's, and no content is empty."
)


@dataclass(frozen=True, slots=True)
class ConversationCandidate:
    """A conversation of an answer, and how likely the model says that it is, 0 to 1."""

    conversation: Conversation
    likelihood: float


def ask_for_candidates(count: int, *, structured: bool) -> str:
    """What a prompt says beyond its template. Without `structured` the answer's format is described."""
    return (
        f"{_ASKED.format(count)}Each has other particulars, another way in and another course. With each, say how likely it is that you "
        "would write it, were you asked for one: its likelihood, between 0 and 1. Begin with the likeliest; below 0.1 are those that you "
        f"would seldom write. All of them follow every rule above.{'' if structured else _SHAPE}"
    )


def count_candidates(prompt: str) -> int:
    """How many conversations a prompt asks for."""
    found = _COUNT.search(prompt)
    return int(found[1]) if found else 1


def parse_candidates(text: str) -> list[ConversationCandidate]:
    """The conversations in an answer that keep the rules; those before the end of one that was cut off. Raises `ParseError` and
    `GenerationValidationError` as `parse_conversation` does where there is none."""
    try:
        items = orjson.loads(text[text.index("{") : text.rindex("}") + 1])["candidates"]
        listed = [(one.get("turns"), one.get("likelihood")) for one in items]
    except (ValueError, KeyError, TypeError, AttributeError):
        listed = [(turns, None) for turns in find_turn_lists(text)]
    found, refused = list[ConversationCandidate](), None
    for turns, likelihood in listed:
        try:
            known = isinstance(likelihood, int | float) and 0 <= likelihood <= 1
            found.append(
                ConversationCandidate(check_turns(turns if isinstance(turns, list) else ()), float(likelihood) if known else 1.0)
            )
        except GenerationValidationError as error:
            refused = refused or error
    if found:
        return found
    raise refused or ParseError("no JSON conversation found in the answer", content=text)
