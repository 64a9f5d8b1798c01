"""STUB"""
from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer


@scorer("refusals", version=1)
def refusals(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """STUB"""
    return KEEP
