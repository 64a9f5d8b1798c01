"""Word salad and character noise: keyboard mash, encoded bytes, words without the small words that join them.

Looks at form alone. Grammatical sentences that make no sense are not found: that needs a judge.
"""

from __future__ import annotations

import re

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.text import FUNCTION_WORDS, ReadTurn, read_turns, split_words

LEAST_WORDS = 9
"""Words of a sentence, without a comma, that has at least one function word if it is one."""

_BLOB = re.compile(
    r"\b(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*\d)[A-Za-z0-9+/]{24,}={0,2}|\b[0-9a-f]{24,}\b"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?:\b[0-9a-f]{2}[ :]){10,}|(?:\b[01]{8} ?){3,}|(?:%[0-9A-F]{2}){4,}|(?:\\x[0-9a-f]{2}){3,}"
)
_MASHED = re.compile(r"(\S)\1{7,}|[\[\]{}'\"\\|<>^~#@&*;=]{6,}")
_NO_VOWEL = re.compile(r"\b[bcdfghjklmnpqrstvwxz]{3,}\b")
_LEET = re.compile(r"\b(?=\w*[a-z])(?=\w*\d\w*[a-z]\w*\d|\w*[a-z]\d[a-z]|\d[a-z]+\d)[a-z0-9]{3,}\b")
_UNSAYABLE = re.compile(r"\b[a-z]*(?:[bcdfghjklmnpqrstvwxz]{6,}|[qwxzj][bcdfgjkpqvxz]{2,}|[sdfghjkl]{5,})[a-z]*\b")
_ABBREVIATED = frozenset(
    "hrs pls thx mths mts wks pts lbs sqft msg msgs ppl tmrw hmm hmmm shh pfft brrr grr psst nth mgmt dept mrs html http https ssl rpm".split()
)


@scorer("salad", version=1)
def salad(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation with a turn that is no language at all."""
    for turn, said in zip(read_turns(conversation), conversation.turns, strict=True):
        encoded = max(map(len, said.content.split()), default=0) >= 12 or turn.plain.count(" ") * 4 > len(turn.plain)
        if found := (encoded and _BLOB.search(said.content)) or _MASHED.search(turn.plain):
            return FilterVerdict("drop", turn.name_fault(found.group(), "is noise, no words"))
        if context.language == "en" and (noise := _find_noise(turn) or _find_pile(turn)):
            return FilterVerdict("drop", turn.name_fault(noise, "is no sentence"))
    return KEEP


def _find_noise(turn: ReadTurn) -> str:
    """Words that cannot be said, if there are two or three of a kind."""
    for form in (_NO_VOWEL, _UNSAYABLE, _LEET):
        found = [word for word in form.findall(turn.plain) if word not in _ABBREVIATED]
        if len(found) >= (2 if form is _UNSAYABLE else 3):
            return " ".join(found)
    return ""


def _find_pile(turn: ReadTurn) -> str:
    """A sentence of many words, none of which joins the others."""
    for sentence in turn.sentences:
        if len(sentence) > 40 and sentence.count(",") < 3:
            words = [word for word in split_words(sentence) if word.isalpha() or "'" in word]
            if len(words) >= LEAST_WORDS and sum(word in FUNCTION_WORDS for word in words) <= len(words) // 14:
                return sentence
    return ""
