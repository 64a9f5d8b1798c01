"""What a sentence leans to, by weights: for what is said in endless ways, and in no form of its own.

A sentence is read as its words, the classes that they belong to (`words/classes.txt`: "won't" is `negated` and `unwilling`), and the pairs
of these that stand together. Each has a weight, and a sentence whose sum is above the line leans to the kind.
`python -m benchmarks.leaning` trains the weights (`words/KIND.weights`) on the labelled set, all hands but the one that is held out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import sqrt
from pathlib import Path

from convoforge.scoring.text import ReadTurn

_FOLDER = Path(__file__).parent / "words"
_WORD = re.compile(r"[a-z]+(?:['.][a-z]+)*|\d+|[?!:;()\[\]\"]")
_MOST_WORDS = 60

_CALLING: Mapping[str, Sequence[str]] = {
    "refusals": ("negated", "unable", "unwilling"),
}
"""Classes of which a turn has a word if it is looked at: most have none."""

_EVERYWHERE = frozenset(("keep", "nothing"))
"""Words of these classes that honest turns have all the time."""

Forms = tuple[str, ...]
_BEGIN, _END, _NUMBER, _UNKNOWN = ("^",), ("$",), ("9",), ("~",)


@dataclass(frozen=True, slots=True)
class Leaning:
    """The weights of a kind: what each word is read as, and what each of these weighs by itself ("") and before another. `line` is where a
    sentence begins to lean."""

    kind: str
    forms: Mapping[str, Forms]
    weights: Mapping[str, Mapping[str, float]]
    line: float
    calling: frozenset[str]

    def find(self, turn: ReadTurn, words: Iterable[str]) -> str | None:
        """The first sentence of a turn of these words that leans to the kind; None where none does."""
        called = self.calling.intersection(words)
        for sentence in turn.sentences if called else ():
            if any(map(sentence.__contains__, called)) and self.weigh(split(sentence)) > self.line:
                return sentence
        return None

    def weigh(self, words: Sequence[str]) -> float:
        """How much a sentence of these words leans to the kind."""
        read, total = read_words(words, self.forms), 0.0
        for here, after in pairwise(read):
            for one in here:
                if own := self.weights.get(one):
                    total += own.get("", 0.0)
                    for other in after:
                        total += own.get(other, 0.0)
        return scale(len(read)) * total


def split(sentence: str) -> Sequence[str]:
    """The words and marks of a sentence in lower case."""
    return _WORD.findall(sentence)[:_MOST_WORDS]


def scale(length: int) -> float:
    """What weights are multiplied by, so that a long sentence does not lean by its length."""
    return 3 / sqrt(4 * length + 20)


def read_words(words: Sequence[str], forms: Mapping[str, Forms]) -> Sequence[Forms]:
    """What each word of a sentence is read as, with `^` before it and `$` after it."""
    return [_BEGIN, *[forms.get(word) or (_NUMBER if word.isdigit() else _UNKNOWN) for word in words], _END]


def list_features(sentence: str, forms: Mapping[str, Forms]) -> Iterator[str]:
    """What has a weight in a sentence: what its words are read as, and pairs of these that stand together."""
    for here, after in pairwise(read_words(split(sentence), forms)):
        for one in here:
            yield one
            yield from (f"{one} {other}" for other in after)


@cache
def read_classes() -> Mapping[str, tuple[str, ...]]:
    """The classes of each word, in capitals."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (_FOLDER / "classes.txt").read_text("utf-8").splitlines():
        name, _, words = line.partition(":")
        for word in words.split() if not line.startswith("#") else ():
            found[word] = tuple(dict.fromkeys((*found.get(word, ()), name.upper())))
    return found


def list_forms(known: Iterable[str]) -> Mapping[str, Forms]:
    """What words are read as: their classes, and those that are known also as themselves."""
    classes = read_classes()
    return {**classes, **{word: (word, *classes.get(word, ())) for word in known}}


@cache
def read_leaning(kind: str) -> Leaning:
    """The weights in `words/KIND.weights`: the line, the known words, then a weight in hundredths and what has it, on a line each."""
    line, known, *rest = (_FOLDER / f"{kind}.weights").read_text("utf-8").splitlines()
    return make_leaning(
        kind, known.split(), {what: int(weight) / 100 for weight, _, what in (one.partition(" ") for one in rest)}, float(line)
    )


def make_leaning(kind: str, known: Iterable[str], weights: Mapping[str, float], line: float) -> Leaning:
    """The leaning of a kind by weights of features as `list_features` gives them."""
    table: dict[str, dict[str, float]] = {}
    for feature, weight in weights.items():
        one, _, other = feature.partition(" ")
        table.setdefault(one, {})[other] = weight
    return Leaning(kind, list_forms(known), table, line, find_calling(kind))


def find_calling(kind: str) -> frozenset[str]:
    """The words for which a sentence is looked at."""
    classes = {name.upper() for name in _CALLING[kind]}
    return frozenset(word for word, own in read_classes().items() if not classes.isdisjoint(own)) - _EVERYWHERE
