"""A single turn out of all proportion to the others: a lecture among sentences, a word where much was asked."""

from __future__ import annotations

import re
from statistics import median

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import reject_turn

TIMES_LONGER = 2.8
"""How many times as long as the median of its role's turns a turn may be."""

LONG = 680
"""Maximum number of characters of a turn that is never too long."""

TIMES_SHORTER = 5
"""How many times shorter than the median of its role's turns an assistant's turn, or the first of all, may be."""

_CHOICES = frozenset("both neither either none never always first second left right".split())
"""Words that answer in full: the question has named what there is to choose from."""

_SHRUGS = frozenset(
    "k kk fine whatever sad meh lol cool nice wow great good bad true same interesting noted sure hi hello hey idk dunno mm mhm hmm hm huh uh um eh".split()
)
"""Words that are no answer of a user either. "Yes", a date or a number is one."""


@scorer("proportions", version=1)
def proportions(conversation: Conversation, _context: ScoringContext) -> FilterVerdict:
    """Leaves to a person a conversation with a turn that is far longer than its role's others, or a word where much more was asked for."""
    turns = conversation.turns
    lengths = [len(turn.content) for turn in turns]
    if len(turns) < 4 or (max(lengths) <= LONG and min(lengths) > LONG / TIMES_SHORTER / TIMES_LONGER):
        return KEEP
    medians = {
        role: median([length for length, one in zip(lengths, turns, strict=True) if one.role == role])
        for role in {turn.role for turn in turns}
    }
    for number, (turn, length) in enumerate(zip(turns, lengths, strict=True), 1):
        usual = medians[turn.role]
        if length > LONG and length > TIMES_LONGER * usual:
            return reject_turn("revise", number, turn, turn.content, f"has {length:,} characters; {usual:,.0f} are usual here")
        asked = lengths[number - 2] if number > 1 else usual
        if length * TIMES_SHORTER < min(usual, asked) and _says_too_little(turn, number):
            return reject_turn("revise", number, turn, turn.content, f"has {length} characters; {usual:,.0f} are usual here")
    return KEEP


def _says_too_little(turn: Turn, number: int) -> bool:
    words = re.findall(r"\w+", turn.content.lower())
    if turn.role == "assistant":
        return len(words) < 7 and _CHOICES.isdisjoint(words[:1])
    return len(words) < 4 if number == 1 else not words or (len(words) < 3 and not _SHRUGS.isdisjoint(words))
