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
from convoforge.scoring.text import find_cuts, join_plain, read_turns

_FOLDER = Path(__file__).parent / "words"
_compile = cache(re.compile)
_PATTERN_PARTS = re.compile(r"\\.|\[\^?.(?:\\.|[^\]\\])*\]|[()|]")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A kind of phrase, and how it is found: by patterns, which are compiled when they are first tried, as most never are."""

    meaning: str
    role: Role | None
    hints: Sequence[str]
    starts: str
    then: str
    unless: str

    def find(self, sentence: str) -> str | None:
        """The words of the phrase in a sentence; None where it is not in it."""
        for start in _compile(self.starts).finditer(sentence):
            end = _compile(self.then).match(sentence, start.end()) if self.then else start
            if end and not (self.unless and _compile(self.unless).search(sentence)):
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
    turns, text = read_turns(conversation), join_plain(conversation)
    starts = [0, *accumulate([len(turn.plain) + 1 for turn in turns])]
    cuts = (0, *find_cuts(text), len(text))
    tried: set[tuple[int, int]] = set()
    for after, hint in hits:
        end = after - (hint[-1] == " ")  # which stands for a line break, too
        turn = turns[bisect_right(starts, end) - 1]
        sentence = bisect_left(cuts, end) - 1
        for one in hinted[hint]:
            if one.role in (None, turn.role) and (sentence, id(one)) not in tried:
                tried.add((sentence, id(one)))
                if words := one.find(text[cuts[sentence] : cuts[sentence + 1]].strip()):
                    return FoundPhrase(turn.role, turn.name_fault(printable_line(words), one.meaning))
    return None


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
    """The phrases in `words/NAME.yaml`. Finding what each needs takes half a second, so nobody asks before there is a
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
        then, unless = (_write_pattern(one[part], classes) if one.get(part) else "" for part in ("then", "unless"))
        given_hints = tuple(filter(None, one.get("hints", "").replace("␣", " ").split("\n")))
        rows = [one["starts"]] if then else one["starts"].removesuffix("\n").split("\n")
        for pattern, needed in _list_starts(rows, classes):
            hints = (not then and needed) or given_hints
            assert hints, f"{pattern} needs hints"
            yield Phrase(one["meaning"], one.get("role"), hints, pattern, then, unless)


def _list_starts(rows: Sequence[str], classes: Mapping[str, str]) -> Iterator[tuple[str, Sequence[str]]]:
    """The patterns of rows, and the needles of each: of a row that needs one, each alternative is tried by itself."""
    for row in rows:
        whole = _write_pattern(row, classes)
        needed = find_literals(whole)
        for pattern in [_write_pattern(one, classes) for one in split_alternatives(row)] if needed is not None else [whole]:
            yield pattern, sorted((needed if pattern == whole else find_literals(pattern)) or ())


def split_alternatives(row: str) -> Iterator[str]:
    """The alternatives of a pattern that stand in no group."""
    start = depth = 0
    for part in _PATTERN_PARTS.finditer(row):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if part[0] == "|" and not depth:
            yield row[start : part.start()]
            start = part.end()
    yield row[start:]


def _write_pattern(text: str, classes: Mapping[str, str]) -> str:
    """A group of the alternatives in a text, one a line. Raises `KeyError` for a class that is not above."""
    alternatives = "|".join(text.removesuffix("\n").split("\n"))
    return f"(?:{re.sub(r'{([a-z_]+)}', lambda name: classes[name[1]], alternatives)})"
