"""The same conversation twice: a fingerprint, and the filter that keeps the first of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from convoforge.models import Conversation
from convoforge.quality.contract import Drop, Key


def content_hash(conversation: Conversation) -> str:
    """The sha256 (hex) of roles and contents, blind to case and to the amount and kind of whitespace, and to the system turn.

    Stored with every answer: another way of writing it down would be another column, not a change here.
    """
    words: list[str] = []
    for turn in conversation.turns:
        words.append(f"\n{turn.role}")  # no word of a content holds a line break, so turns cannot run into each other
        words += turn.content.split()
    return sha256(" ".join(words).casefold().encode()).hexdigest()


def first_of_each(rows: Iterable[tuple[Key, str]]) -> Iterator[Drop[Key]]:
    """Every row whose content hash an earlier row has, with the key of the first that has it.

    `rows` are (key, content hash) in the order that decides who is first: oldest first keeps what is already published. Give it
    only rows that would otherwise be accepted, or a row may be dropped for repeating one that nobody will see.
    """
    first: dict[str, Key] = {}
    for key, fingerprint in rows:
        if fingerprint in first:
            yield Drop(key, first[fingerprint], "duplicate")
        else:
            first[fingerprint] = key
