"""Overlap with evaluation data: a model that was trained on a test's texts is measured by its memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.text import list_words, read_turns, split_words

WORDS = 10
"""Words in a row that make a hit."""

HITS = 3
"""Hits in one conversation that drop it."""

SHORTEST = 6
"""Fewest words of an item that is recognized as a whole; shorter ones are everybody's phrases."""


@scorer("contamination", version=1)
def contamination(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation that shares ten words in a row with evaluation texts three times, or holds a short item whole."""
    known = [_hash_text(text) for text in context.evaluation]
    lengths = sorted({size for grams in known for size in grams})
    hits = 0
    for turn, words in zip(read_turns(conversation), list_words(conversation), strict=True):
        for size in lengths:
            for start in range(len(words) - size + 1):
                run = words[start : start + size]
                weight = max((grams.get(size, {}).get(hash(run), 0) for grams in known), default=0)
                hits += weight
                if weight and hits >= HITS:
                    return FilterVerdict("drop", turn.name_fault(" ".join(run), "stands in the evaluation data"))
    return KEEP


@lru_cache(maxsize=16)
def _hash_text(text: str) -> dict[int, dict[int, int]]:
    """By length, the hashes of the runs of words that count, and how many hits each is."""
    found: dict[int, dict[int, int]] = {}
    for item in _list_items(text):
        words = tuple(split_words(item))
        if SHORTEST <= len(words) < WORDS + HITS - 1:
            found.setdefault(len(words), {})[hash(words)] = HITS
        for start in range(len(words) - WORDS + 1):
            found.setdefault(WORDS, {}).setdefault(hash(words[start : start + WORDS]), 1)
    return found


def _list_items(text: str) -> Iterator[str]:
    """The texts of a file: each line, or each text within a line of JSON."""
    for line in text.splitlines():
        try:
            yield from _list_texts(json.loads(line))
        except ValueError:
            yield line


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.splitlines()
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _list_texts(part)
