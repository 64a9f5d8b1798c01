"""Patterns of faults, and the verdict on the turn that holds one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import KEEP, FilterVerdict
from convoforge.scoring.text import ReadTurn, hide_private, remember_last

_MAX_QUOTE = 40


@dataclass(frozen=True, slots=True)
class FaultPattern:
    """A pattern of a fault, which completes "turn 4 (assistant): '…' ". A text without any of `needles`, in lower case, cannot match it;
    without `needles`, an ASCII text cannot."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    fault: str


class PatternSet:
    """Patterns that are searched in whole conversations: only those of which a needle is there."""

    def __init__(self, patterns: Sequence[FaultPattern]) -> None:
        self.patterns = patterns
        self._numbers: dict[str, list[int]] = {}
        for number, one in enumerate(patterns):
            for needle in one.needles or (_NOT_ASCII,):
                self._numbers.setdefault(needle, []).append(number)
        add_needles(self._numbers)

    def judge(
        self, conversation: Conversation, is_excused: Callable[[re.Match[str]], bool] = lambda _match: False
    ) -> FilterVerdict:
        """Drops a conversation for the first turn that matches a pattern, unless the match is excused. Turns are read one by one only
        where the whole text matches."""
        text, _ = join_turns(conversation)
        numbers = {number for needle in find_needles(conversation) for number in self._numbers.get(needle, ())}
        suspects = [one for one in map(self.patterns.__getitem__, sorted(numbers)) if one.pattern.search(text)]

        def find(turn: Turn) -> tuple[str, str] | None:
            text = "\n" + turn.content
            found = ((match, one) for one in suspects for match in one.pattern.finditer(text))
            return next(((match[0], one.fault) for match, one in found if not is_excused(match)), None)

        return judge_turns(conversation, find) if suspects else KEEP


_NEEDLES: set[str] = set()
"""The needles of all patterns of all filters that are loaded: a text is searched for them once."""


_NOT_ASCII = "\x80"
"""Stands for the needle of the patterns that have none."""


def add_needles(needles: Iterable[str]) -> None:
    """Have `find_needles` look for these, in lower case, too."""
    _NEEDLES.update(needles)


def find_needles(conversation: Conversation) -> frozenset[str]:
    """The needles of all filters that stand in a conversation, in lower case."""
    return _make_search(len(_NEEDLES))(conversation)


@lru_cache(maxsize=1)
def _make_search(_known: int) -> Callable[[Conversation], frozenset[str]]:
    """A search for the needles that are known now. Filters that are loaded later bring more, and make what it remembers worthless."""
    from ahocorasick import Automaton

    automaton = Automaton()
    for needle in sorted(_NEEDLES):
        automaton.add_word(needle, needle)
    automaton.make_automaton()

    @remember_last
    def search(conversation: Conversation) -> frozenset[str]:
        text, lowered = join_turns(conversation)
        found = frozenset(needle for _, needle in automaton.iter(lowered))
        return found if text.isascii() else found | {_NOT_ASCII}

    return search


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


@remember_last
def join_turns(conversation: Conversation) -> tuple[str, str]:
    """All turns, a line break before each; and the same in lower case."""
    text = "\n" + "\n".join(turn.content for turn in conversation.turns)
    return text, text.lower()


def reject_turn(action: Literal["drop", "revise", "mark"], number: int, turn: Turn, words: str, fault: str) -> FilterVerdict:
    """The verdict on a turn, counted from 1, of which some words are quoted."""
    words = hide_private(words[:400]) or words[:400]
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in words)
    shown = shown if len(shown) <= _MAX_QUOTE else f"{shown[: _MAX_QUOTE - 1]}…"
    return FilterVerdict(action, ReadTurn(number, turn.role, "").name_fault(shown, fault))


def judge_turns(conversation: Conversation, find: Callable[[Turn], tuple[str, str] | None]) -> FilterVerdict:
    """Drops a conversation for the first turn in which `find` finds a fault: the words to quote, and what is wrong with them."""
    for number, turn in enumerate(conversation.turns, 1):
        if found := find(turn):
            return reject_turn("drop", number, turn, *found)
    return KEEP
