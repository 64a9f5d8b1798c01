"""Small grammars of phrases: word classes and patterns in `words/NAME.yaml`, compiled to regular expressions.

A class is a text with one alternative a line; `{name}` stands for a class above it. A phrase has `hints` (it is looked for only where a
turn holds one of these substrings; `␣` is a space), what it `starts` with, optionally what must follow (`then`), the `role` that says it (either where
none is given), and its `meaning` for the reason. A sentence that `unless` matches holds no phrase. All of it is matched against one
sentence at a time, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from convoforge.models import Conversation, Role
from convoforge.printable import printable_line
from convoforge.scoring.text import ReadTurn, read_turns

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


@dataclass(frozen=True)
class Grammar:
    """The phrases of one filter."""

    phrases: Sequence[Phrase]

    @cached_property
    def _hints(self) -> Any:
        from ahocorasick import Automaton

        automaton = Automaton()
        for hint in {hint for one in self.phrases for hint in one.hints}:
            automaton.add_word(hint, (hint, tuple(one for one in self.phrases if hint in one.hints)))
        automaton.make_automaton()
        return automaton

    def find(self, conversation: Conversation) -> FoundPhrase | None:
        """The first phrase found in a conversation; None where there is none."""
        for turn in read_turns(conversation):
            if (hinted := dict(found for _, found in self._hints.iter(turn.plain))) and (reason := _find_in(turn, hinted)):
                return FoundPhrase(turn.role, reason)
        return None


def _find_in(turn: ReadTurn, hinted: Mapping[str, Sequence[Phrase]]) -> str | None:
    wanted = {
        hint: kept for hint, phrases in hinted.items() if (kept := [one for one in phrases if one.role in (None, turn.role)])
    }
    for sentence in turn.sentences if wanted else ():
        for one in {id(one): one for hint, phrases in wanted.items() if hint in sentence for one in phrases}.values():
            if words := one.find(sentence):
                return turn.name_fault(printable_line(words), one.meaning)
    return None


@cache
def read_grammar(name: str) -> Grammar:
    """The grammar in `words/NAME.yaml`."""
    raw: Mapping[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text())
    classes: dict[str, str] = {}
    for key, text in raw["classes"].items():
        classes[key] = _write_pattern(text, classes)
    return Grammar(tuple(_read_phrases(raw, classes)))


def _read_phrases(raw: Mapping[str, Any], classes: Mapping[str, str]) -> Iterator[Phrase]:
    for given in raw["phrases"]:
        one = {**raw.get("defaults", {}), **given}
        starts, then, unless = (
            re.compile(_write_pattern(one[part], classes)) if one.get(part) else None for part in ("starts", "then", "unless")
        )
        assert starts is not None, f"{given} starts with nothing"
        hints = tuple(one["hints"].replace("␣", " ").removesuffix("\n").split("\n"))
        yield Phrase(one["meaning"], one.get("role"), hints, starts, then, unless)


def _write_pattern(text: str, classes: Mapping[str, str]) -> str:
    """A group of the alternatives in a text, one a line. Raises `KeyError` for a class that is not above."""
    alternatives = "|".join(text.removesuffix("\n").split("\n"))
    return f"(?:{re.sub(r'{([a-z_]+)}', lambda name: classes[name[1]], alternatives)})"
