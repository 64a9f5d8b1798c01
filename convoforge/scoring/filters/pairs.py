"""How far words stand in an order of English, by the counts of words and of pairs that the package symspellpy brings.

In text whose words are in no order, a pair stands as often as chance puts its words together. So a pair weighs how much more often chance
would bring it than English does, on a logarithmic scale: "the of" much, "of the" less than nothing. The heaviest run of words says how
far a text is from any sentence.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import pairwise
from math import log
from pathlib import Path

_ALL_WORDS = log(1e12)
"""Words of the corpus in which both were counted."""

_PAIR_UNIT = 64
"""The package gives counts of pairs this many times too high, against those of words: "of the" comes out more often than "of"."""

_LEAST_COUNT = log(4e4)
"""What a pair that is not listed counts at most: the list ends at 100,000."""

_DAMPED, _LIGHTEST, _HEAVIEST, _UNLISTED = 0.55, -2.5, 3.5, 0.8
"""Pairs depend on each other, so each counts half; one alone may be a slip, so none counts too much; two seldom words that nobody put side
by side before are no proof, but seven of them are."""

_SHIFT, _STEPS = 17, 8
"""How the numbers of two words are put into one, and how finely a logarithm is kept: numbers to 256 take no memory of their own."""

_UNKNOWN, _MARK, _NEW_SENTENCE = -0.4, -1.0, -2.0
"""What a name or number takes from a run, what a comma or quote does, and what the end of a sentence does."""

_MOST_KEPT = 1 << 16
_PARTS = re.compile(r"(\W*)(.*?)(\W*)$", re.DOTALL)
_ENDINGS = {"'ll": "will", "'re": "are", "'ve": "have", "'d": "would", "'m": "am", "n't": "not"}
_IRREGULAR = {"won't": "will", "can't": "can", "ain't": "is"}
_SAY_IS = frozenset("he she it that this what who there here where how".split())
_DATES = frozenset(
    "january february march april june july august september october november december monday tuesday wednesday thursday friday saturday "
    "sunday".split()
)
"""The pages that were counted are full of dates without a sentence around them."""


@dataclass(frozen=True, slots=True)
class _Counts:
    """Natural logarithms: of how often a word comes, and how often a pair does, by the numbers of its words."""

    numbers: Mapping[str, int]
    words: Sequence[float]
    pairs: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Token:
    """What stands between two blanks: the numbers of its first and last word (None for none that is known), and the marks around it."""

    first: int | None
    last: int | None
    opened: bool
    closed: bool
    ends: bool


class _Weights(dict[tuple[str, str], float]):
    """The weights of pairs of tokens that were asked for: a text repeats most of them."""

    def __missing__(self, pair: tuple[str, str]) -> float:
        if len(self) >= _MOST_KEPT:
            self.clear()
        self[pair] = weight = _weigh(*map(_read_token, pair))
        return weight


_WEIGHTS = _Weights()


def find_heaviest(plain: str) -> tuple[float, str]:
    """The weight of the heaviest run of words in a text in lower case, and the run."""
    tokens = plain.replace("\n", " . ").replace(" in may ", " in june ").split()
    heaviest, total, start, found = 0.0, 0.0, 0, (0, 0)
    for end, weight in enumerate(map(_WEIGHTS.__getitem__, pairwise(tokens)), 2):
        total += weight
        if total <= 0:
            total, start = 0.0, end - 1
        elif total > heaviest:
            heaviest, found = total, (start, end)
    return heaviest, " ".join(tokens[slice(*found)])


def list_unknown(words: frozenset[str]) -> frozenset[str]:
    """Those words in lower case that are none of English: numbers and contractions, too."""
    return words.difference(_read_counts().numbers)


def _weigh(before: _Token, after: _Token) -> float:
    if before.ends:
        return _NEW_SENTENCE
    if before.closed or after.opened:
        return _MARK
    if before.last is None or after.first is None:
        return _UNKNOWN
    counts = _read_counts()
    expected = counts.words[before.last] + counts.words[after.first] - _ALL_WORDS
    counted = counts.pairs.get(before.last << _SHIFT | after.first)
    if counted is None:
        return max(_UNLISTED, min(_HEAVIEST, _DAMPED * (expected - _LEAST_COUNT)))
    return max(_LIGHTEST, min(_HEAVIEST, _DAMPED * (expected - counted / _STEPS)))


@lru_cache(maxsize=1 << 14)
def _read_token(token: str) -> _Token:
    parts = _PARTS.match(token)
    assert parts is not None
    before, word, after = parts.groups()
    first, last = word, word
    for ending, meant in _ENDINGS.items() if "'" in word else ():
        if word.endswith(ending):
            first, last = _IRREGULAR.get(word, word.removesuffix(ending)), meant
    if word.endswith("'s"):
        first, last = word[:-2], "is" if word[:-2] in _SAY_IS else ""
    number = _read_counts().numbers.get
    return _Token(number(first), number(last), bool(before), bool(after), not word or after[:1] in tuple(".!?\u2026"))


@cache
def _read_counts() -> _Counts:
    """What the package counts: half a second and 45 MB, so nobody asks before there is a conversation."""
    rows = [(word, count) for word, count in _read_rows("frequency_dictionary_en_82_765.txt") if word not in _DATES]
    numbers = {word: number for number, (word, _) in enumerate(rows)}
    number = numbers.get
    pairs = {
        first << _SHIFT | second: int(_STEPS * log(int(count) / _PAIR_UNIT))
        for before, after, count in _read_rows("frequency_bigramdictionary_en_243_342.txt")
        if (first := number(before)) is not None and (second := number(after)) is not None
    }
    return _Counts(numbers, array("f", [log(int(count)) for _, count in rows]), pairs)


def _read_rows(name: str) -> Iterator[list[str]]:
    """The rows of a file of the package, which is not imported for that."""
    spec = find_spec("symspellpy")
    assert spec is not None
    assert spec.submodule_search_locations
    text = (Path(spec.submodule_search_locations[0]) / name).read_text("utf-8-sig")
    return (row.split(" ") for row in text.splitlines())
