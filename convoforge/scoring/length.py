"""Average length of a turn: 0–3 points, by the seed's rubric."""

from __future__ import annotations

from convoforge.models import Conversation
from convoforge.scoring.contract import Points, ScoringContext, scorer


@scorer("length", version=1)
def average_length(conversation: Conversation, _context: ScoringContext) -> Points:
    """3 points for an average of 100 to 400 characters a turn, 2 for 50 to 600, 1 for 20 or more."""
    n = len(conversation.turns) or 1
    total = sum(len(turn.content) for turn in conversation.turns)
    if 100 * n <= total <= 400 * n:
        return Points(3, 3)
    points = 2 if 50 * n <= total <= 600 * n else 1 if total >= 20 * n else 0
    # Rounded away from the range: 99.9 must not be shown as 100, which would be inside it.
    shown = total // n if total < 100 * n else -(-total // n)
    return Points(points, 3, f"{shown} characters a turn on average; 100 to 400 are best")
