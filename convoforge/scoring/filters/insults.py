"""Insults, threats and contempt, at the one who is spoken to. Harsh words about a thing, about oneself or about others are none."""

from __future__ import annotations

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.grammar import find_phrase


@scorer("insults", version=5)
def insults(conversation: Conversation, _context: ScoringContext) -> FilterVerdict:
    """Drop a conversation whose assistant insults; leave one to a person whose user does, as templates of hard cases ask for that."""
    found = find_phrase("insults", conversation)
    return FilterVerdict("drop" if found.role == "assistant" else "revise", found.reason) if found else KEEP
