"""Contamination: a turn that holds words of an evaluation text, which a model trained on it would only recite.

Compared are runs of ten words, by their hashes: three of them that stand in the evaluation texts too are a copy, as one alone may be a
figure of speech. An item of fewer than twelve words cannot hold three; it is found as a whole, from six words on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.text import list_words, read_turns, split_words

_GRAM = 10
_HITS = 3
_SHORT = 6  # fewer words are said by anyone: "How much should I save?"


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """Hashes of the runs of ten words of one text, hashes of the first six words of its short items, and those items."""

    grams: frozenset[int]
    begins: frozenset[int]
    short: frozenset[tuple[str, ...]]


@scorer("contamination", version=1)
def contamination(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation that copies an evaluation text. Without such texts every conversation is kept."""
    if not context.evaluation:
        return KEEP
    turns = list_words(conversation)
    for known in map(_read_evaluation, context.evaluation):
        hits: set[int] = set()
        for turn, words in zip(read_turns(conversation), turns, strict=True):
            if not known.grams.isdisjoint(_hash_runs(words, _GRAM)):
                runs = list(_hash_runs(words, _GRAM))
                hits.update(known.grams.intersection(runs))
                if len(hits) >= _HITS:
                    at = next(place for place, run in enumerate(runs) if run in known.grams)
                    return FilterVerdict(
                        "drop", turn.name_fault(" ".join(words[at : at + _GRAM]), "stands in the evaluation data")
                    )
            if known.begins and not known.begins.isdisjoint(_hash_runs(words, _SHORT)) and (item := _find_item(words, known)):
                return FilterVerdict("drop", turn.name_fault(" ".join(item), "stands in the evaluation data"))
    return KEEP


def _hash_runs(words: Sequence[str], length: int) -> Iterator[int]:
    """The hash of each run of so many words. All of it happens in C: a loop takes four times as long."""
    return map(hash, zip(*(words[start:] for start in range(length)), strict=False))


def _find_item(words: tuple[str, ...], known: _Evaluation) -> tuple[str, ...] | None:
    """The first short item that stands in a turn as a whole."""
    for at, run in enumerate(_hash_runs(words, _SHORT)):
        if run in known.begins:
            for length in range(_SHORT, _GRAM + _HITS - 1):
                if words[at : at + length] in known.short:
                    return words[at : at + length]
    return None


@lru_cache(maxsize=32)
def _read_evaluation(text: str) -> _Evaluation:
    """Read an evaluation text once. Items are the strings in its JSON, whatever their keys, or its lines."""
    grams: set[int] = set()
    short: set[tuple[str, ...]] = set()
    for item in _list_items(text):
        words = tuple(split_words(item))
        if _SHORT <= len(words) < _GRAM + _HITS - 1:
            short.add(words)
        grams.update(_hash_runs(words, _GRAM))
    return _Evaluation(frozenset(grams), frozenset(hash(words[:_SHORT]) for words in short), frozenset(short))


def _list_items(text: str) -> Iterator[str]:
    """The strings in a JSON document or in JSON Lines; of plain text its lines, and its paragraphs, as lines may be folded."""
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] in ("[", "{"):
        try:
            yield from _list_strings(json.loads(text))
        except (ValueError, RecursionError):
            pass
        else:
            return
    plain = []
    for line in text.split("\n"):
        if line.lstrip()[:1] in ("[", "{", '"'):
            try:
                yield from _list_strings(json.loads(line))
            except (ValueError, RecursionError):
                pass
            else:
                continue
        plain.append(line)
        yield line
    yield from (block for block in "\n".join(plain).split("\n\n") if "\n" in block.strip())


def _list_strings(value: object) -> Iterator[str]:
    """All strings in a JSON value, except the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _list_strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _list_strings(each)
