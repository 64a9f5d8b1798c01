"""Talk about itself or the task: "As an AI", "Here is the conversation", "Let me know if you'd like more turns", "the persona".

A client who asks whether it talks to a machine, or works at one's maker, is none; neither is a conversation that somebody had.
"""

from __future__ import annotations

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.grammar import find_phrase


@scorer("meta_talk", version=5)
def meta_talk(conversation: Conversation, _context: ScoringContext) -> FilterVerdict:
    """Drop a conversation that gives away that it was written to order, or that a model speaks."""
    found = find_phrase("meta_talk", conversation)
    return FilterVerdict("drop", found.reason) if found else KEEP
