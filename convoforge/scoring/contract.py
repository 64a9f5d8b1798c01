"""What a scorer is: it sees one conversation, gives points, and says in words why they are not all it has to give.

A new one is a small file that keeps this shape. Pure: the same conversation always gives the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from convoforge.models import Conversation


class Points(NamedTuple):
    """One scorer's points, and why they are not all it has to give ("" when they are)."""

    points: int
    reason: str = ""


Scorer = Callable[[Conversation], Points]
