"""Patterns of faults, and the verdict on the turn that holds one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from convoforge.models import Conversation, Turn
from convoforge.printable import printable_line
from convoforge.scoring.contract import KEEP, FilterVerdict
from convoforge.scoring.text import ReadTurn

_MAX_QUOTE = 40


@dataclass(frozen=True, slots=True)
class FaultPattern:
    """A pattern of a fault, which completes "turn 4 (assistant): '…' ". A text without any of `needles`, in lower case, cannot match it;
    without `needles`, an ASCII text cannot."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    fault: str


class PatternSet:
    """Patterns that are searched in whole conversations: those whose needles are found there, all at once."""

    def __init__(self, patterns: Sequence[FaultPattern]) -> None:
        self._patterns = patterns

    @cached_property
    def _needles(self) -> Any:
        from ahocorasick import Automaton

        owners: dict[str, set[int]] = {}
        for number, one in enumerate(self._patterns):
            for needle in one.needles:
                owners.setdefault(needle, set()).add(number)
        automaton = Automaton()
        for needle, numbers in owners.items():
            automaton.add_word(needle, numbers)
        automaton.make_automaton()
        return automaton

    def judge(self, conversation: Conversation) -> FilterVerdict:
        """Drops a conversation for the first turn that matches a pattern. Turns are read one by one only where the whole text matches."""
        text, lowered = join_turns(conversation)
        found = set[int]().union(*(numbers for _, numbers in self._needles.iter(lowered)))
        ascii_only = text.isascii()
        suspects = [
            one
            for number, one in enumerate(self._patterns)
            if (number in found or not (one.needles or ascii_only)) and one.pattern.search(text)
        ]

        def find(turn: Turn) -> tuple[str, str] | None:
            text = "\n" + turn.content
            return next(((match[0], one.fault) for one in suspects if (match := one.pattern.search(text))), None)

        return judge_turns(conversation, find) if suspects else KEEP


def list_patterns(*rows: tuple[str, str, int, str]) -> tuple[FaultPattern, ...]:
    """Patterns from rows of needles, pattern, flags, fault. Blanks part needles; `␣` is a space in one, `⇥` a tab, `⏎` a line break."""
    return tuple(
        FaultPattern(
            tuple(one.replace("␣", " ").replace("⏎", "\n").replace("⇥", "\t") for one in needles.split()),
            re.compile(pattern, flags | re.MULTILINE),
            fault,
        )
        for needles, pattern, flags, fault in rows
    )


@lru_cache(maxsize=2)
def join_turns(conversation: Conversation) -> tuple[str, str]:
    """All turns, a line break before each; and the same in lower case."""
    text = "\n" + "\n".join(turn.content for turn in conversation.turns)
    return text, text.lower()


def reject_turn(action: Literal["drop", "revise", "mark"], number: int, turn: Turn, words: str, fault: str) -> FilterVerdict:
    """The verdict on a turn, counted from 1, of which some words are quoted."""
    shown = printable_line(" ".join(words.split()) or words)
    shown = shown if len(shown) <= _MAX_QUOTE else f"{shown[: _MAX_QUOTE - 1]}…"
    return FilterVerdict(action, ReadTurn(number, turn.role, "").name_fault(shown, fault))


def judge_turns(conversation: Conversation, find: Callable[[Turn], tuple[str, str] | None]) -> FilterVerdict:
    """Drops a conversation for the first turn in which `find` finds a fault: the words to quote, and what is wrong with them."""
    for number, turn in enumerate(conversation.turns, 1):
        if found := find(turn):
            return reject_turn("drop", number, turn, *found)
    return KEEP
