"""STUB"""
from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer


@scorer("placeholders", version=1)
def placeholders(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """STUB"""
    return KEEP
