"""STUB"""
from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer


@scorer("control_tokens", version=1)
def control_tokens(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """STUB"""
    return KEEP
