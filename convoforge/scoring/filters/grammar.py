"""Small grammars of phrases: word classes and patterns in `words/NAME.yaml`, compiled to regular expressions.

A class is a text with one alternative a line; `{name}` stands for a class above it. A phrase has `hints` (it is looked for only where a
turn holds one of these substrings), what it `starts` with, optionally what must follow (`then`), the `role` that says it (either where
none is given), and its `meaning` for the reason. A sentence that `unless` matches holds no phrase. All of it is matched against one
sentence at a time, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from convoforge.models import Conversation, Role
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


@dataclass(frozen=True)
class Grammar:
    """The phrases of one filter."""

    phrases: Sequence[Phrase]

    @cached_property
    def _hints(self) -> Any:
        from ahocorasick import Automaton

        automaton = Automaton()
        for hint in {hint for one in self.phrases for hint in one.hints}:
            automaton.add_word(hint, hint)
        automaton.make_automaton()
        return automaton

    def find(self, conversation: Conversation) -> str | None:
        """The reason for the first phrase found in a conversation; None where there is none."""
        turns = read_turns(conversation)
        found = {hint for _, hint in self._hints.iter("\n".join(turn.plain for turn in turns))}
        hinted = [(one, hints) for one in self.phrases if (hints := found.intersection(one.hints))]
        return next((reason for turn in turns if (reason := _find_in(turn, hinted))), None) if hinted else None


def _find_in(turn: ReadTurn, hinted: Sequence[tuple[Phrase, AbstractSet[str]]]) -> str | None:
    here = [(one, hints) for one, hints in hinted if one.role in (None, turn.role) and any(hint in turn.plain for hint in hints)]
    for sentence in turn.sentences if here else ():
        for one, hints in here:
            if any(hint in sentence for hint in hints) and (words := one.find(sentence)):
                return turn.name_fault(words, one.meaning)
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
        hints = tuple(one["hints"].removesuffix("\n").split("\n"))
        yield Phrase(one["meaning"], one.get("role"), hints, starts, then, unless)


def _write_pattern(text: str, classes: Mapping[str, str]) -> str:
    """A group of the alternatives in a text, one a line. Raises `KeyError` for a class that is not above."""
    alternatives = "|".join(text.removesuffix("\n").split("\n"))
    return f"(?:{re.sub(r'{([a-z_]+)}', lambda name: classes[name[1]], alternatives)})"
