"""What several filters read alike: turns in lower case with plain quotes, their sentences, and the words of a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from convoforge.models import Conversation, Role

FUNCTION_WORDS = frozenset(
    (
        "a an the and or but nor so yet if then than because as while when whenever where that which who whom whose what why how "
        "this these those there here i you he she it we they me him her us them my your his its our their mine yours ours theirs "
        "myself yourself himself herself itself ourselves themselves am is are was were be been being have has had having do does "
        "did doing will would shall should can could may might must ought let not no don't doesn't didn't isn't aren't wasn't "
        "weren't won't wouldn't can't couldn't shouldn't haven't hasn't hadn't i'm you're he's she's it's we're they're that's "
        "there's what's who's i've you've we've they've i'd you'd he'd she'd we'd they'd i'll you'll he'll she'll it'll we'll "
        "they'll let's of to in on at by for with from into onto about over under up down out off after before between through "
        "during without within against toward towards upon per just only also too very really even still already again ever never "
        "now some any all both each every either neither more most much many few less least other another such own same one ok "
        "okay well yes yeah get got go goes going "
    ).split()
)
"""English words that say how others belong together, and the barest verbs."""

_PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})
_SENTENCE_END = re.compile(
    r"[.!?\u2026\n](?:(?<=\n)|[\"')\]]?\s)\s*"
)  # one set of marks to begin with takes half the time of two
_PUNCTUATION = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\u2013\u2014\u2026\u00ab\u00bb', " "))
_MAX_REASON = 120
_PRIVATE = re.compile(r"[^\s@]+@[^\s@]+|(?:\d[ -]?){7,}")

UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
"""A letter of a script that puts no spaces between words: each counts as a word. Signatures depend on it."""


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ReadTurn:
    """A turn as filters read it: its number (from 1), its role, and its text in lower case with straight quotes."""

    number: int
    role: Role
    plain: str

    @property
    def sentences(self) -> Sequence[str]:
        """The plain text, split after `.`, `!`, `?`, `…` and at line breaks."""
        return split_sentences(self.plain)

    def name_fault(self, words: str, meaning: str) -> str:
        """A reason of at most 120 characters: `turn 4 (assistant): 'words' meaning`. Long words are cut, personal data is left out."""
        room = _MAX_REASON - len(f"turn {self.number} ({self.role}): '' {meaning}")
        words = hide_private(words)
        shown = words if len(words) <= room else words[: max(0, room - 1)].rstrip() + "\u2026"
        return f"turn {self.number} ({self.role}): '{shown}' {meaning}"[:_MAX_REASON]


def hide_private(text: str) -> str:
    """The text in one line, without addresses and numbers as long as a phone's: what a reason does not repeat."""
    return _PRIVATE.sub("\u2026", " ".join(text.split()))


def remember_last(read: Callable[[Conversation], Value]) -> Callable[[Conversation], Value]:
    """Keep what was read of the last conversation, by identity: filters come one after the other, and hashing a conversation takes
    longer than most of them."""
    last: tuple[Conversation, Value] | None = None

    def recall(conversation: Conversation) -> Value:
        nonlocal last
        known = last
        if known is None or known[0] is not conversation:
            last = known = (conversation, read(conversation))
        return known[1]

    return recall


@remember_last
def read_turns(conversation: Conversation) -> tuple[ReadTurn, ...]:
    """The turns of a conversation as filters read them."""
    return tuple(ReadTurn(number, turn.role, simplify(turn.content)) for number, turn in enumerate(conversation.turns, 1))


@remember_last
def join_plain(conversation: Conversation) -> str:
    """All turns as filters read them, a line break before each and after the last."""
    return "".join(["\n", *[turn.plain + "\n" for turn in read_turns(conversation)]])


def simplify(content: str) -> str:
    """A text in lower case with straight quotes and plain blanks. It is not longer, and only for some letters shorter, than before."""
    lower = content.lower()
    return lower if lower.isascii() else lower.translate(_PLAIN)


@lru_cache(maxsize=64)
def find_cuts(plain: str) -> tuple[int, ...]:
    """Where each sentence of a text but the first begins: after `.`, `!`, `?`, `…` and at line breaks."""
    return tuple([found.end() for found in _SENTENCE_END.finditer(plain)])


@lru_cache(maxsize=64)
def split_sentences(plain: str) -> tuple[str, ...]:
    """The sentences of a text."""
    cuts = find_cuts(plain)
    return tuple(filter(None, [plain[start:end].strip() for start, end in zip((0, *cuts), (*cuts, None), strict=True)]))


@remember_last
def list_words(conversation: Conversation) -> tuple[tuple[str, ...], ...]:
    """The words of each turn in lower case. Numbers are words."""
    text = " \0 ".join([turn.plain.replace("\0", " ") for turn in read_turns(conversation)])  # all at once takes half the time
    return tuple([tuple(said.split()) for said in _part(text).split("\0")]) if conversation.turns else ()


def split_words(text: str) -> list[str]:
    """The words of any text as `list_words` gives them."""
    return _part(simplify(text)).split()


def _part(plain: str) -> str:
    """The text with blanks alone between its words."""
    return f" {plain} ".translate(_PUNCTUATION).replace(" '", " ").replace("' ", " ")
