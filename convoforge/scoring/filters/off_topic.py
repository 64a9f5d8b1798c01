"""Conversations that are not about the topic they were asked for.

A topic can be served without its words, so that their absence is no fault yet. It is one if the conversation has no word of any other
topic of the spec either, and so is about another field, or if it names another one of them again and again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from operator import add

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.text import FUNCTION_WORDS, hide_private, list_words, simplify, split_words

LEAST_TURNS = 4
"""Turns of a conversation long enough to name what it is about."""

LEAST_TELLING = 10
"""Different telling words of a spec's topics from which they stand for a field."""

LEAST_NAMED = 4
"""Times that another topic's telling words, two of them or more, are said where it is the subject."""

_SUFFIX = re.compile(
    r"(?:ifications?|izations?|ations?|ions?|ments?|ities|ity|ances?|ings?|ies|ied|ers?|ors?|ees?|ed|es|e|s|al|y)$"
)
_DOUBLED = re.compile(r"([bdgmnprt])\1$")
_LEAST_STEM = 4
_HYPHENATED = re.compile(r"(\w)-(?=\w)")
_MAX_TOPIC = 120 - len("'' is nowhere in the conversation")


@scorer("off_topic", version=1)
def off_topic(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Leave to a person a conversation without a word of its topic that speaks of another one, or of none of the spec's."""
    own, field = _list_stems(context.topic), _join_telling(context.topics)
    english = context.language_of("user") == context.language_of("assistant") == "en"
    if len(conversation.turns) < LEAST_TURNS or not english or own <= _read_common() or len(field) < LEAST_TELLING:
        return KEEP
    said = _count_stems(conversation, own | field)
    if not own.isdisjoint(said) or (said and not any(_is_named(topic, said) for topic in context.topics)):
        return KEEP
    topic = hide_private(context.topic)
    shown = topic if len(topic) <= _MAX_TOPIC else topic[: _MAX_TOPIC - 1].rstrip() + "\u2026"
    return FilterVerdict("revise", f"'{shown}' is nowhere in the conversation")


def _is_named(topic: str, said: Mapping[str, int]) -> bool:
    """Whether all telling words of a topic are said, often enough."""
    telling = _list_stems(topic) - _read_common()
    return len(telling) > 1 and telling <= said.keys() and sum(said[stem] for stem in telling) >= LEAST_NAMED


def _count_stems(conversation: Conversation, stems: frozenset[str]) -> Mapping[str, int]:
    """How often words are said that begin with a stem; of a stem of two or three letters, the word or its plural. What the topic writes
    with a hyphen may be two words."""
    found: Counter[str] = Counter()
    begins = _list_begins(stems)
    for words in list_words(conversation):
        for word in [word for word in words if word[:_LEAST_STEM] in begins]:
            found.update(stems.intersection([word.removesuffix("s"), *_list_starts(word, _LEAST_STEM)]))
        for first, both in zip(words, map(add, words, words[1:]), strict=False):
            if both[:_LEAST_STEM] in begins:
                found.update(stems.intersection(_list_starts(both, max(_LEAST_STEM, len(first) + 1))))
    return found


def _list_starts(word: str, least: int) -> list[str]:
    return [word[:length] for length in range(least, len(word) + 1)]


@lru_cache(maxsize=1024)
def _list_begins(stems: frozenset[str]) -> frozenset[str]:
    """How a word begins that has one of the stems: most have none, and are passed over at once."""
    return frozenset(stem[:_LEAST_STEM] for stem in stems) | {f"{stem}s" for stem in stems if len(stem) < _LEAST_STEM}


@lru_cache(maxsize=4096)
def _list_stems(topic: str) -> frozenset[str]:
    """The stems of a topic's words, small words aside."""
    words = split_words(_HYPHENATED.sub(r"\1", simplify(topic)))
    return frozenset(_cut_ending(word) for word in words if len(word) > 2 and word not in FUNCTION_WORDS)


@lru_cache(maxsize=32)
def _join_telling(topics: tuple[str, ...]) -> frozenset[str]:
    """The stems of all topics, frequent words aside."""
    return frozenset[str]().union(*map(_list_stems, topics)) - _read_common()


def _cut_ending(word: str) -> str:
    bare = _SUFFIX.sub("", word.removesuffix("'s"))
    if len(bare) < _LEAST_STEM:
        return word.removesuffix("'s").removesuffix("s")
    return _DOUBLED.sub(r"\1", bare)


@cache
def _read_common() -> frozenset[str]:
    """The stems of frequent English words, which say nothing of what a text is about."""
    text = (files("convoforge.scoring.filters") / "words" / "common.txt").read_text("utf-8")
    return frozenset(map(_cut_ending, text.partition("\n")[2].split()))
