"""STUB"""
from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer


@scorer("proportions", version=1)
def proportions(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """STUB"""
    return KEEP
