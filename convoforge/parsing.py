"""An answer's text → a `Conversation`: tolerant of how it is wrapped, strict about what is inside.

Structured output is pure JSON and takes the fast path: one decode, one loop. Anything else (fences, prose, a byte-order mark,
an outer object cut off) is searched for turns. Of several conversations the one with the most turns that keeps the rules is
taken: a sketch of the format before the answer proper is shorter than it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from convoforge.errors import GenerationValidationError, ParseError
from convoforge.models import Conversation, Role, Turn

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "turns": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "role": {"enum": ["user", "assistant"]},
                    "content": {"type": "string"},
                },
                "required": ["role", "content"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["turns"],
    "additionalProperties": False,
}
"""The JSON schema for structured output. The API takes no more of JSON schema than this: no lengths, no counts."""

ANSWER_FORMAT: str = (
    'Answer with one JSON object and nothing else: no Markdown fence, no text before or after it. Its shape is {"turns": '
    '[{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}. The first turn is the user\'s, roles '
    "alternate, the last turn is the assistant's, and no content is empty."
)
"""The paragraph appended to a prompt where structured output is not available."""

_LISTS = ("turns", "messages", "conversation", "conversations")
_ROLE_KEYS = {"role", "from", "speaker"}
_ROLES: dict[str, Role | Literal["system"]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "system": "system",
}

_OPENING = re.compile(r'\{(?=\s*")|\[(?=\s*\{\s*")')
# Outside a string JSON has no backslash: meeting one ends an attempt that began on the wrong side of a quote.
_MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*"|[][{}"\\]', re.DOTALL)
_DEEPEST = 8  # turns in two wrappers, each with a list of text blocks, are 6 deep
_LENIENT = json.JSONDecoder(strict=False)  # raw line breaks inside strings, which models write


def parse_conversation(text: str) -> Conversation:
    """The conversation in an answer, contents stripped of outer whitespace.

    Accepts an object with `turns`, `messages`, `conversation` or `conversations` (at most two deep) or a bare list; turns as
    role/content, from/value or speaker/text; the usual names of roles in any capitalisation; content as a string or as a list
    of text blocks, which become paragraphs. A system turn at the start becomes `Conversation.system`; whoever asked decides what it
    is good for, so that one without a usable text is no fault of the conversation.

    Raises `ParseError` when there is no such JSON, and `GenerationValidationError` when there is, but it has fewer than two
    turns, roles that do not alternate from user to assistant, or a content that is blank, not text, or not storable (NUL, half
    of a surrogate pair). Takes time linear in the length of the text, whatever the text.
    """
    try:
        whole = _turn_list(orjson.loads(text))
    except orjson.JSONDecodeError:
        whole = None
    if whole is not None:
        return check_turns(whole)
    refused: GenerationValidationError | None = None
    for turns in sorted(find_turn_lists(text), key=len, reverse=True):
        try:
            return check_turns(turns)
        except GenerationValidationError as error:
            refused = refused or error
    raise refused or ParseError("no JSON conversation found in the answer", content=text)


def _turn_list(data: object) -> list[Any] | None:
    if isinstance(data, list):
        # Any object may be a wrapper by its keys; a list is one of turns only if it begins like one.
        return data if data and isinstance(data[0], dict) and not _ROLE_KEYS.isdisjoint(data[0]) else None
    for _ in range(2):
        data = next((data[key] for key in _LISTS if key in data), None) if isinstance(data, dict) else None
        if isinstance(data, list):
            return data
    return None


def find_turn_lists(text: str) -> Iterator[list[Any]]:
    """The lists in a text that begin like turns, one after another, whatever stands around them."""
    ends: dict[int, int] = {}
    position = 0
    for opening in _OPENING.finditer(text):
        start = opening.start()
        if start < position:
            continue
        if start not in ends:
            ends |= _ends(text, start)
        if end := ends[start]:
            try:
                turns = _turn_list(_LENIENT.decode(text[start:end]))
            except ValueError:
                continue
            if turns is not None:
                yield turns
                position = end


def _ends(text: str, start: int) -> dict[int, int]:
    """Every bracket from `start` to the one that closes it, with the index after its own closing one, or 0 for none worth a look.

    All of them at once keeps the search linear: a bracket is visited at most once from each side of a quote.
    """
    ends: dict[int, int] = {}
    opened: list[int] = []
    heights = [0]
    for mark in _MARK.finditer(text, start):
        match mark[0]:
            case "{" | "[":
                ends[mark.start()] = 0
                opened.append(mark.start())
                heights.append(0)
            case "}" | "]":
                height = heights.pop() + 1
                heights[-1] = max(heights[-1], height)
                ends[opened.pop()] = mark.end() if height <= _DEEPEST else 0
                if not opened:
                    break
            case '"' | "\\":  # a string without an end, or no JSON
                break
    return ends


def check_turns(items: Sequence[Any]) -> Conversation:
    """The conversation of turns as `parse_conversation` takes them. Raises `GenerationValidationError` as it does."""
    system: str | None = None  # empty where it has no usable text
    turns: list[Turn] = []
    previous: Role = "assistant"
    for item in items:
        number = len(turns) + 1
        role, content = _turn(item, number)
        if role == "system":
            if turns or system is not None:
                raise _against("roles", number, f"invalid role sequence: turn {number} is system; only the first may be")
            system = content
        elif role == previous:
            place = f"after {previous}" if turns else "but the first must be user"
            raise _against("roles", number, f"invalid role sequence: turn {number} is {role} {place}")
        else:
            turns.append(Turn(role, content))
            previous = role
    if len(turns) < 2:
        raise _against("count", len(turns), f"too short: {len(turns)} of at least 2 turns")
    if previous == "user":
        raise _against("roles", len(turns), f"invalid role sequence: turn {len(turns)} is user but the last must be assistant")
    return Conversation(tuple(turns), system or None)


def _turn(item: object, number: int) -> tuple[Role | Literal["system"], str]:
    if not isinstance(item, dict):
        raise _against("shape", number, f"turn {number} is not an object with role and content")
    name = item.get("role", item.get("from", item.get("speaker")))
    role = _ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise _against("roles", number, f"turn {number} has the role {name!r:.40}; it must be user or assistant")
    content = item.get("content", item.get("value", item.get("text")))
    if isinstance(content, list):
        blocks: list[Any] = [block.get("text") if isinstance(block, dict) else block for block in content]
        content = "\n\n".join(blocks) if all(isinstance(block, str) for block in blocks) else None
    if role == "system":
        return role, content.strip() if isinstance(content, str) and _storable(content) else ""
    if not isinstance(content, str):
        raise _against("content", number, f"turn {number} ({role}) has no text")
    content = content.strip()
    if not content:
        raise _against("content", number, f"turn {number} ({role}) is empty")
    if not _storable(content):
        raise _against("content", number, f"turn {number} ({role}) holds a NUL or half of a surrogate pair")
    return role, content


def _storable(text: str) -> bool:
    """Whether Parquet and PostgreSQL take it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _against(rule: str, turn: int, message: str) -> GenerationValidationError:
    return GenerationValidationError(message, details={"rule": rule, "turn": turn})
