"""Echoes: a turn that repeats the brief it was written from, or an example that the brief gives.

Found are runs of words that stand in the brief, too: twelve in a row, as honest turns use its facts ("Returns are taken within 30 days")
in up to eleven; ten where it speaks of the roles and of writing, which no turn does; and the labels of its fields, such as "Emotion: fear".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.text import list_words, read_turns, split_words

_RUN = 12
_RUN_OF_INSTRUCTION = 10
_GRAM, _STEP = 6, 5  # a run of ten words holds six that begin at a multiple of five
_NEAR = 4  # words on either side of a run in which a role marks it as an instruction
_ROLE = re.compile(r"(?:client|advis[eo]r|customer|assistant|user|persona|emotion|brief|turn|conversation|character)s?(?:'s)?")
_LABEL = re.compile(r"^([A-Z][a-z]+(?: [a-z]+){0,3}):(?= *\{\{)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Brief:
    """The words of a brief, where each six of them stand, which name a role, and the labels of its fields."""

    words: Sequence[str]
    places: Mapping[tuple[str, ...], Sequence[int]]
    roles: Sequence[bool]
    label: re.Pattern[str] | None


@scorer("echo", version=1)
def echo(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation with words of its brief in a turn."""
    brief = _read_brief(context.brief)
    for turn, words in zip(read_turns(conversation), list_words(conversation), strict=True):
        if brief.label and turn.plain.count(":") > 1 and len(labels := set(brief.label.findall(turn.plain))) > 1:
            return FilterVerdict("drop", turn.name_fault(", ".join(sorted(labels)), "are fields of the brief"))
        for start, end, wanted in _list_runs(words, brief):
            if end - start >= wanted:
                return FilterVerdict("drop", turn.name_fault(" ".join(words[start:end]), "repeats the brief"))
    return KEEP


def _list_runs(words: tuple[str, ...], brief: _Brief) -> Iterator[tuple[int, int, int]]:
    """Start and end of each run of a turn's words that the brief holds too, and the length from which it is an echo."""
    for at in range(0, len(words) - _GRAM + 1, _STEP):
        for place in brief.places.get(words[at : at + _GRAM], ()):
            before, after = 0, _GRAM
            while before < min(at, place) and words[at - before - 1] == brief.words[place - before - 1]:
                before += 1
            while (
                at + after < len(words) and place + after < len(brief.words) and words[at + after] == brief.words[place + after]
            ):
                after += 1
            yield (
                at - before,
                at + after,
                _RUN_OF_INSTRUCTION if any(brief.roles[max(0, place - before - _NEAR) : place + after + _NEAR]) else _RUN,
            )


@lru_cache(maxsize=64)
def _read_brief(text: str) -> _Brief:
    words = split_words(text)
    roles = [bool(_ROLE.fullmatch(word)) for word in words]
    places: dict[tuple[str, ...], list[int]] = {}
    for place in range(len(words) - _GRAM + 1):
        places.setdefault(tuple(words[place : place + _GRAM]), []).append(place)
    labels = sorted({label.lower() for label in _LABEL.findall(text)})
    label = re.compile(rf"^\W*({'|'.join(map(re.escape, labels))})\s*:", re.MULTILINE) if labels else None
    return _Brief(words, places, roles, label)
