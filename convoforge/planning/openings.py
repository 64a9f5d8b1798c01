"""How recent conversations begin, handed to the next prompts as what is not to be repeated.

They are no part of a request's fingerprint: they depend on what was answered before, and a draw would be stale a minute later. They
come after all else in the prompt, so that what the API's cache keeps stays the same. The ledger has them with the answer.
"""

from __future__ import annotations

from collections import defaultdict, deque

from convoforge.models import Conversation

KEPT = 3
"""Maximum openings kept for a persona, and for a topic: the newest."""

MAX_CHARACTERS = 160
"""Maximum characters of an opening. With two times `KEPT` of them, a prompt grows by 300 tokens at most."""

_ASK = "Conversations close to this one begin as follows. Begin in another way, and come to the matter from another side:"

LONGEST = f"{_ASK}{2 * KEPT * (MAX_CHARACTERS * 'x' + 5 * ' ')}"
"""As long as what `Openings.describe` may return, for estimates."""


class Openings:
    """The first turns of the newest conversations of a run, by persona and by topic."""

    def __init__(self) -> None:
        self._newest: defaultdict[tuple[str, str], deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))

    def add(self, persona: str, topic: str, conversation: Conversation) -> None:
        text = " ".join(conversation.turns[0].content.split())
        opening = text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1].rpartition(' ')[0]}…"
        self._newest["persona", persona].append(opening)
        self._newest["topic", topic].append(opening)

    def describe(self, persona: str, topic: str) -> str:
        """What a prompt for these says of them; empty if there are none yet."""
        found = dict.fromkeys((*self._newest["topic", topic], *self._newest["persona", persona]))
        return "\n- ".join((_ASK, *found)) if found else ""
