"""The hash that identifies duplicate conversations. The first of each is accepted."""

from __future__ import annotations

from hashlib import sha256

from convoforge.models import Conversation


def content_hash(conversation: Conversation) -> str:
    """SHA-256 (hex) of roles and contents. Ignores case, differences in whitespace, and the system turn.

    Stored with every answer, so it must not change: a different hash would need a new column.
    """
    words: list[str] = []
    for turn in conversation.turns:
        words.append(f"\n{turn.role}")  # no word contains a line break, so turns cannot run into each other
        words += turn.content.split()
    return sha256(" ".join(words).casefold().encode()).hexdigest()
