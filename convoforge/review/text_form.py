"""A conversation as a text that a person edits: a line names who speaks, what is said stands below it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from convoforge.models import Turn

_NAME = re.compile(r"=== ?(.*?) ?===[ \t]*")
_LIKE_A_NAME = re.compile(r"\\*===.*===[ \t]*")


def write_text(turns: Iterable[Turn]) -> str:
    """The text of turns. A line of what is said that would be read as a name gets a backslash before it."""
    return "\n\n".join(f"=== {turn.role} ===\n{_escape(turn.content)}" for turn in turns) + "\n"


def read_text(text: str) -> list[dict[str, str]]:
    """The turns of a text, as objects with role and content; whether they make a conversation is not asked here. What stands before the
    first name is a comment."""
    turns: list[tuple[str, list[str]]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if name := _NAME.fullmatch(line):
            turns.append((name[1].strip(), []))
        elif turns:
            turns[-1][1].append(line[1:] if line.startswith("\\") and _LIKE_A_NAME.fullmatch(line) else line)
    return [{"role": role, "content": "\n".join(lines).strip()} for role, lines in turns]


def _escape(content: str) -> str:
    return "\n".join(f"\\{line}" if _LIKE_A_NAME.fullmatch(line) else line for line in content.split("\n"))
