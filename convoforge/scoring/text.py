"""What several filters read alike: turns in lower case with plain quotes, their sentences, and the words of a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from convoforge.models import Conversation, Role

_PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})
_SENTENCE_END = re.compile(r"\s(?:(?<=[.!?\u2026\n]\s)|(?<=\n)|(?<=[.!?\u2026][\"')\]]\s))")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_MAX_REASON = 120


@dataclass(frozen=True, slots=True)
class ReadTurn:
    """A turn as filters read it: its number (from 1), its role, and its text in lower case with straight quotes."""

    number: int
    role: Role
    plain: str

    @property
    def sentences(self) -> Sequence[str]:
        """The plain text, split after `.`, `!`, `?`, `…` and at line breaks."""
        return split_sentences(self.plain)

    def name_fault(self, words: str, meaning: str) -> str:
        """A reason of at most 120 characters: `turn 4 (assistant): 'words' meaning`. Long words are cut."""
        room = _MAX_REASON - len(f"turn {self.number} ({self.role}): '' {meaning}")
        words = " ".join(words.split())
        shown = words if len(words) <= room else words[: max(0, room - 1)].rstrip() + "\u2026"
        return f"turn {self.number} ({self.role}): '{shown}' {meaning}"[:_MAX_REASON]


@lru_cache(maxsize=2)
def read_turns(conversation: Conversation) -> tuple[ReadTurn, ...]:
    """The turns of a conversation as filters read them. The last two conversations are kept, as filters come one after the other."""
    return tuple(ReadTurn(number, turn.role, _simplify(turn.content)) for number, turn in enumerate(conversation.turns, 1))


def _simplify(content: str) -> str:
    lower = content.lower()
    return lower if lower.isascii() else lower.translate(_PLAIN)


@lru_cache(maxsize=64)
def split_sentences(plain: str) -> tuple[str, ...]:
    """The sentences of a text."""
    return tuple(filter(None, _SENTENCE_END.split(plain)))


@lru_cache(maxsize=2)
def list_words(conversation: Conversation) -> tuple[tuple[str, ...], ...]:
    """The words of each turn in lower case. Numbers are words."""
    return tuple(tuple(_WORD.findall(turn.plain)) for turn in read_turns(conversation))


def split_words(text: str) -> list[str]:
    """The words of any text as `list_words` gives them."""
    return _WORD.findall(_simplify(text))
