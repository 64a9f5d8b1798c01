"""How alike conversations are: MinHash signatures of their words, and which pairs resemble each other.

The similarity is the share of two conversations' runs of five words that both have (Jaccard), numbers masked: where only the amounts differ
it is 1. Signatures estimate it, with a standard error of 0.04. Only pairs that share one of 32 bands of a signature are compared: those are
99.9 % of the pairs that are alike to 0.7, 95 % at 0.55 and 74 % at 0.45. It is decided by the two texts alone.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from string import punctuation
from typing import Any

from convoforge.models import Conversation
from convoforge.planning.quality import MIN_ALIKE
from convoforge.scoring.text import UNSPACED

SIGNATURE_VERSION = 2
"""Increased with whatever changes a signature, a new algorithm of rensa's among it: older ones are made again."""

_RUN, _PERMUTATIONS, _BANDS, _SEED = 5, 128, 32, 7

_MOST = 32
"""Maximum number of earlier conversations, of a dataset, that one is linked with: a thousand copies of one text are not a million pairs."""

_NUMBER = re.compile(r"\d[\d.,]*")
_SPACES = bytes.maketrans(punctuation.encode(), b" " * len(punctuation))
_NOT_ASCII = re.compile(rf"({UNSPACED})|[^\w\s]")


def sign(conversations: Iterable[Conversation]) -> list[bytes]:
    """The signature of each conversation, some 600 bytes."""
    from rensa import RMinHash  # takes 50 ms

    runs = [_list_runs(one) for one in conversations]
    return [made.__getstate__() for made in RMinHash.from_token_sets(runs, _PERMUTATIONS, _SEED)]


def _list_runs(conversation: Conversation) -> list[bytes]:
    text = _NUMBER.sub("0", " ".join([turn.content for turn in conversation.turns]).lower())
    if not text.isascii():
        text = _NOT_ASCII.sub(r" \1 ", text)
    words = text.encode(errors="replace").translate(_SPACES).split()
    joined = b"".join(words)  # where a word ends makes no difference to the hash of five
    starts = [*accumulate(map(len, words), initial=0)]
    return [joined[start:end] for start, end in zip(starts, starts[_RUN:], strict=False)] or [joined]


@dataclass(frozen=True, slots=True)
class Signed:
    """A request with the signature of its conversation. `order` is its place among all: dataset, draw, cell."""

    request_id: int
    order: tuple[int, int, str]
    signature: bytes


class SimilarityIndex:
    """Finds the pairs among some new conversations, and between them and held ones, that are alike to `MIN_ALIKE` or more."""

    def __init__(self, fresh: Sequence[Signed]) -> None:
        from rensa import RMinHashLSH

        self._fresh = sorted(fresh, key=attrgetter("order"))
        self._ids = {one.request_id for one in fresh}
        self._sketches = [_restore(one.signature) for one in self._fresh]
        self._bands = RMinHashLSH(MIN_ALIKE, _PERMUTATIONS, _BANDS)
        self._bands.insert_pairs(list(enumerate(self._sketches)))
        self._earlier: dict[tuple[int, int], list[tuple[tuple[int, int, str], int, float]]] = {}
        for number, (one, sketch) in enumerate(zip(self._fresh, self._sketches, strict=True)):
            self._match(one, sketch, number)

    def compare(self, held: Signed) -> None:
        """Compare the new ones with another one; an older signature of one of them is passed over."""
        if held.request_id not in self._ids:
            self._match(held, _restore(held.signature), len(self._fresh))

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """What was found: request, one that comes before it, similarity."""
        for (request, _), found in self._earlier.items():
            for _, other, similarity in found:
                yield request, other, similarity

    def _match(self, one: Signed, sketch: Any, before: int) -> None:
        """Compare one with those new ones that stand before a place."""
        sketches, jaccard = self._sketches, sketch.jaccard  # of short conversations, each meets hundreds that are hardly alike
        alike = [
            (number, similarity)
            for number in self._bands.query(sketch)
            if number < before and (similarity := jaccard(sketches[number])) >= MIN_ALIKE
        ]
        for number, similarity in alike:
            other = self._fresh[number]
            later, first = (one, other) if other.order < one.order else (other, one)
            found = self._earlier.setdefault((later.request_id, first.order[0]), [])
            if len(found) < _MOST or first.order < found[-1][0]:
                insort(found, (first.order, first.request_id, similarity))
                del found[_MOST:]


def _restore(signature: bytes) -> Any:
    from rensa import RMinHash

    made = RMinHash(_PERMUTATIONS, _SEED)
    made.__setstate__(signature)
    return made
