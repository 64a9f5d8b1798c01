"""Small grammars of phrases: word classes and patterns in `words/NAME.yaml`, compiled to regular expressions.

A class is a text with one alternative a line; `{name}` stands for a class above it. A phrase has what it `starts` with, optionally what
must follow (`then`), the `role` that says it (either where none is given), and its `meaning` for the reason. A sentence that `unless`
matches, its own or the grammar's, holds no phrase. All of it is matched against one sentence at a time, in lower case.

A line of `starts` is tried only where a turn holds what it needs (`literals.py`), or one of the phrase's `hints` if it needs nothing
certain or something must follow; `␣` is a space.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from convoforge.models import Conversation, Role
from convoforge.printable import printable_line
from convoforge.scoring.filters.literals import find_literals
from convoforge.scoring.patterns import add_needles, list_hits
from convoforge.scoring.text import find_cuts, read_turns

_FOLDER = Path(__file__).parent / "words"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A kind of phrase, and how it is found."""

    meaning: str
    role: Role | None
    hints: Sequence[str]
    starts: re.Pattern[str]
    then: re.Pattern[str] | None
    unless: re.Pattern[str] | None

    def find(self, sentence: str) -> str | None:
        """The words of the phrase in a sentence; None where it is not in it."""
        for start in self.starts.finditer(sentence):
            end = self.then.match(sentence, start.end()) if self.then else start
            if end and not (self.unless and self.unless.search(sentence)):
                return sentence[start.start() : end.end()]
        return None


@dataclass(frozen=True, slots=True)
class FoundPhrase:
    """Who said a phrase, and the reason that names it."""

    role: Role
    reason: str


def find_phrase(grammar: str, conversation: Conversation) -> FoundPhrase | None:
    """The first phrase of a grammar in a conversation; None where there is none."""
    hinted = _read_hints(grammar)
    hits = [hit for hit in list_hits(conversation) if hit[1] in hinted]
    if not hits:
        return None
    turns = read_turns(conversation)
    starts = [0, *accumulate([len(turn.plain) + 1 for turn in turns])]
    tried: set[tuple[int, int, int]] = set()
    for end, hint in hits:
        number = bisect_left(starts, end) - 1 if hint[-1] == " " else bisect_right(starts, end) - 1
        turn = turns[number]
        phrases = [one for one in hinted[hint] if one.role in (None, turn.role)]
        if not phrases:
            continue
        place, sentence = _read_sentence(turn.plain, end - starts[number] - (hint[-1] == " "))
        for one in phrases:
            if (number, place, id(one)) not in tried:
                tried.add((number, place, id(one)))
                if words := one.find(sentence):
                    return FoundPhrase(turn.role, turn.name_fault(printable_line(words), one.meaning))
    return None


def _read_sentence(plain: str, end: int) -> tuple[int, str]:
    """The sentence in which a hint ends, and where it begins."""
    cuts = find_cuts(plain)
    number = bisect_left(cuts, end)
    start = cuts[number - 1] if number else 0
    return start, plain[start : cuts[number] if number < len(cuts) else None].strip()


@cache
def _read_hints(grammar: str) -> Mapping[str, Sequence[Phrase]]:
    """The phrases of a grammar by their hints, for which conversations are searched from now on."""
    hinted: dict[str, list[Phrase]] = {}
    for one in read_grammar(grammar):
        for hint in one.hints:
            hinted.setdefault(hint, []).append(one)
    add_needles(hinted, in_sentences=True)
    return hinted


@cache
def read_grammar(name: str) -> Sequence[Phrase]:
    """The phrases in `words/NAME.yaml`. Reading and compiling them all takes most of a second, so nobody asks before there is a
    conversation."""
    raw: Mapping[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text())
    classes: dict[str, str] = {}
    for key, text in raw["classes"].items():
        classes[key] = _write_pattern(text, classes)
    return tuple(_read_phrases(raw, classes))


def _read_phrases(raw: Mapping[str, Any], classes: Mapping[str, str]) -> Iterator[Phrase]:
    for given in raw["phrases"]:
        one = {**raw.get("defaults", {}), **given}
        one["unless"] = raw.get("unless", "") + one.get("unless", "")
        then, unless = (re.compile(_write_pattern(one[part], classes)) if one.get(part) else None for part in ("then", "unless"))
        given_hints = tuple(filter(None, one.get("hints", "").replace("␣", " ").split("\n")))
        rows = [one["starts"]] if then else one["starts"].removesuffix("\n").split("\n")
        for pattern in [_write_pattern(row, classes) for row in rows]:
            hints = (not then and sorted(find_literals(pattern) or ())) or given_hints
            assert hints, f"{pattern} needs hints"
            yield Phrase(one["meaning"], one.get("role"), hints, re.compile(pattern), then, unless)


def _write_pattern(text: str, classes: Mapping[str, str]) -> str:
    """A group of the alternatives in a text, one a line. Raises `KeyError` for a class that is not above."""
    alternatives = "|".join(text.removesuffix("\n").split("\n"))
    return f"(?:{re.sub(r'{([a-z_]+)}', lambda name: classes[name[1]], alternatives)})"
