"""Patterns of faults, and the verdict on the turn that holds one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import KEEP, FilterVerdict
from convoforge.scoring.text import ReadTurn, hide_private, join_plain, remember_last, simplify

_MAX_QUOTE = 40


@dataclass(frozen=True, slots=True)
class FaultPattern:
    """A pattern of a fault, which completes "turn 4 (assistant): '…' ". A text without any of `needles`, in whatever case unless the
    needle has capitals, cannot match it; without `needles`, an ASCII text cannot."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    fault: str


class PatternSet:
    """Patterns that are searched in whole conversations: only those of which a needle is there."""

    def __init__(self, patterns: Sequence[FaultPattern]) -> None:
        self.patterns = patterns
        self._wanted: dict[str, list[tuple[str, int]]] = {}
        for number, one in enumerate(patterns):
            for needle in one.needles or (_NOT_ASCII,):
                self._wanted.setdefault(simplify(needle), []).append(("" if needle == needle.lower() else needle, number))
        add_needles(self._wanted)

    def judge(
        self, conversation: Conversation, is_excused: Callable[[re.Match[str]], bool] = lambda _match: False
    ) -> FilterVerdict:
        """Drops a conversation for the first turn that matches a pattern, unless the match is excused. Turns are read one by one only
        where the whole text matches."""
        text = join_turns(conversation)
        found = self._wanted.keys() & find_needles(conversation)
        numbers = {number for needle in found for written, number in self._wanted[needle] if written in text}
        suspects = [one for one in map(self.patterns.__getitem__, sorted(numbers)) if one.pattern.search(text)]

        def find(turn: Turn) -> tuple[str, str] | None:
            text = "\n" + turn.content
            found = ((match, one) for one in suspects for match in one.pattern.finditer(text))
            return next(((match[0], one.fault) for match, one in found if not is_excused(match)), None)

        return judge_turns(conversation, find) if suspects else KEEP


_NEEDLES: set[str] = set()
"""The needles of all filters that are loaded: a conversation is searched for all of them in one pass, once."""

_IN_SENTENCES: set[str] = set()
WORD_EDGE = "\b"
"""Stands at an end of a needle that must be that of a word."""

_NOT_ASCII = "\x80"
"""Stands for the needle of the patterns that have none."""

Hits = Sequence[tuple[int, str]]
"""The needles in a conversation, each with the place of its last character in `join_plain`."""


def add_needles(needles: Iterable[str], *, in_sentences: bool = False) -> None:
    """Have `list_hits` and `find_needles` look for these, too. They are written as `simplify` writes them. Those of phrases stand
    `in_sentences`: a blank at an end of theirs also stands for the beginning or end of a turn."""
    _NEEDLES.update(needles)
    if in_sentences:
        _IN_SENTENCES.update(needles)


def list_hits(conversation: Conversation) -> Hits:
    """The needles of all filters that are loaded, wherever they stand in a conversation."""
    return _make_search(len(_NEEDLES))(conversation)[0]


def find_needles(conversation: Conversation) -> frozenset[str]:
    """The needles that stand in a conversation."""
    return _make_search(len(_NEEDLES))(conversation)[1]


@lru_cache(maxsize=1)
def _make_search(_known: int) -> Callable[[Conversation], tuple[Hits, frozenset[str]]]:
    """A search for the needles that are known now. Filters that are loaded later bring more, and make what it remembers worthless."""
    from ahocorasick import Automaton

    meant: dict[str, list[tuple[str, int, bool]]] = {}
    for needle in sorted(_NEEDLES):
        edges = ("^ ", " $", "^ | $") if needle in _IN_SENTENCES else ()
        for written in {needle, *(re.sub(edge, "\n", needle) for edge in edges)}:
            bare = written.strip(WORD_EDGE)
            before, after = written[0] == WORD_EDGE, written[-1] == WORD_EDGE
            meant.setdefault(bare, []).append((needle, len(bare) * before, after))
    automaton = Automaton()
    for bare, needles in meant.items():
        automaton.add_word(bare, tuple(needles))
    automaton.make_automaton()

    @remember_last
    def search(conversation: Conversation) -> tuple[Hits, frozenset[str]]:
        text = join_plain(conversation)
        hits = [
            (end, needle)
            for end, needles in automaton.iter(text)
            for needle, before, after in needles
            if not (before and is_word(text[end - before])) and not (after and is_word(text[end + 1]))
        ]
        found = frozenset([needle for _, needle in hits])
        return hits, found if join_turns(conversation).isascii() else found | {_NOT_ASCII}

    return search


def is_word(letter: str) -> bool:
    """Whether a letter is one of a word, as patterns have it."""
    return letter.isalnum() or letter == "_"


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
def join_turns(conversation: Conversation) -> str:
    """All turns, a line break before each."""
    return "\n" + "\n".join([turn.content for turn in conversation.turns])


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
