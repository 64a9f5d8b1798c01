"""What a scorer and a filter are. A new one is a small file that keeps one of the two shapes, and says why in words.

A scorer sees one conversation and is asked again whenever the rubric changes. A cross-row filter sees all rows in the caller's
order, each as its key and a fingerprint (a content hash; for near duplicates a set of shingles), and names the rows to drop.
Both are pure: the same rows in the same order give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from convoforge.models import Conversation

Key = TypeVar("Key")
Fingerprint = TypeVar("Fingerprint")


class Part(NamedTuple):
    """One scorer's points, and why they are not all it has to give ("" when they are)."""

    points: int
    reason: str = ""


class Drop(NamedTuple, Generic[Key]):
    """A row to leave out, and why. `because_of` is the earlier row that it repeats."""

    key: Key
    because_of: Key
    reason: str


Scorer = Callable[[Conversation], Part]
RowFilter = Callable[[Iterable[tuple[Key, Fingerprint]]], Iterator[Drop[Key]]]
