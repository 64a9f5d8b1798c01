"""The same conversation twice: the fingerprint by which it is known. the first of each is accepted."""

from __future__ import annotations

from hashlib import sha256

from convoforge.models import Conversation


def content_hash(conversation: Conversation) -> str:
    """The sha256 (hex) of roles and contents, blind to case and to the amount and kind of whitespace, and to the system turn.

    Stored with every answer: another way of writing it down would be another column, not a change here.
    """
    words: list[str] = []
    for turn in conversation.turns:
        words.append(f"\n{turn.role}")  # no word of a content holds a line break, so turns cannot run into each other
        words += turn.content.split()
    return sha256(" ".join(words).casefold().encode()).hexdigest()
