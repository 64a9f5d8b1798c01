"""STUB"""
from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer


@scorer("loops", version=1)
def loops(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """STUB"""
    return KEEP
