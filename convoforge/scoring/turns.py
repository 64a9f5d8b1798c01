"""Number of turns: 0–3 points, by the seed's rubric."""

from __future__ import annotations

from convoforge.models import Conversation
from convoforge.scoring.contract import Points, ScoringContext, scorer


@scorer("turns", version=1)
def turn_count(conversation: Conversation, _context: ScoringContext) -> Points:
    """3 points for 8 to 16 turns, 2 for 6 to 20, 1 for 4 or more."""
    n = len(conversation.turns)
    if 8 <= n <= 16:
        return Points(3, 3)
    points = 2 if 6 <= n <= 20 else 1 if n >= 4 else 0
    return Points(points, 3, f"{n} {'turn' if n == 1 else 'turns'}; 8 to 16 are best")
