"""Refusals: an assistant that will not do its work, in any of its turns.

A refusal declines the request as such ("I can't help with that", "I'm unable to provide financial advice"), or names rules of its own
as the reason. An honest limit says what is missing, who decides, or which single act it declines, and is kept: "I can't see your
account", "I can't tell you that without the plan's own document", "I won't help to hide it".
"""

from __future__ import annotations

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.grammar import find_phrase


@scorer("refusals", version=1)
def refusals(conversation: Conversation, _context: ScoringContext) -> FilterVerdict:
    """Drop a conversation in which the assistant refuses."""
    found = find_phrase("refusals", conversation)
    return FilterVerdict("drop", found.reason) if found else KEEP
