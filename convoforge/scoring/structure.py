"""Whether roles alternate, the user first: 4 points or none, by the seed's rubric."""

from __future__ import annotations

from convoforge.models import Conversation
from convoforge.scoring.contract import Points, ScoringContext, scorer


@scorer("structure", version=1)
def alternation(conversation: Conversation, _context: ScoringContext) -> Points:
    """4 points if user and assistant alternate and the user begins; else 0, also without turns."""
    previous = "assistant"
    for number, turn in enumerate(conversation.turns, 1):
        if turn.role == previous:
            place = f"after {previous}" if number > 1 else "but the first must be user"
            return Points(0, 4, f"turn {number} is {turn.role} {place}")
        previous = turn.role
    return Points(4, 4) if conversation.turns else Points(0, 4, "0 turns; user and assistant must alternate")
