"""The small words of languages, and which words of a conversation are such."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from itertools import repeat

from convoforge.models import Conversation
from convoforge.scoring.text import FUNCTION_WORDS, list_words, remember_last

_ENGLISH = frozenset(
    "die den men tab main fin was also mal pas see com come solo sin son sun per use due far fang fee fond hay lo los las pay ma pa la de el le ye want".split()
)
"""Words on the list that English has too."""

OTHER, FUNCTION, END, FOREIGN = range(4)
"""What a word is to `flag_words`: a function word of English, the end of a turn, a small word of another language, or none of these."""


@cache
def read_small_words() -> Mapping[str, tuple[str, ...]]:
    """The languages of each small word that is not English."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (files("convoforge.scoring.filters") / "words" / "foreign.txt").read_text("utf-8").splitlines():
        language, _, words = line.partition(":")
        for word in words.split() if not line.startswith("#") else ():
            if word not in FUNCTION_WORDS and word not in _ENGLISH:
                found[word] = (*found.get(word, ()), language)
    return found


@cache
def _read_flags() -> Mapping[str, int]:
    return dict.fromkeys(read_small_words(), FOREIGN) | dict.fromkeys(FUNCTION_WORDS, FUNCTION)


@remember_last
def flag_words(conversation: Conversation) -> bytes:
    """What each word of `list_words` is, a byte each, with one for the end between turns: all of it happens in C."""
    tell = _read_flags().get
    return bytes((END,)).join([bytes(map(tell, said, repeat(OTHER))) for said in list_words(conversation)])
