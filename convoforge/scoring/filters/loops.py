"""Loops and echoes: a turn that goes round in circles, one that says again what was said, and a tail of thanks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, compress
from operator import eq

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.small_words import FOREIGN, FUNCTION, OTHER, flag_words
from convoforge.scoring.patterns import reject_turn
from convoforge.scoring.text import FUNCTION_WORDS, join_plain, list_words, split_words

PARROTED = 0.6
"""Share of an assistant's turn's matter, its words but for the grammar's and the topic's, that the turn before may hold."""

PARROTED_BY_USER = 0.8
"""The same for the user, who may repeat what is to be done."""

REPEATED = 0.55
"""How alike the matter of two of an assistant's turns may be: what they share, by the mean of their sizes."""

REPEATED_BY_USER = 0.62
"""The same for the user, who may insist."""

LEAST_SHARED = REPEATED / (2 - REPEATED)
"""Share of a turn's matter that other turns hold if it repeats one of them, which may be as small as what they share."""

CIRCLES = 0.25
"""Share of a turn's triples of words that may be repetitions, if they are five or more."""

VARIETY = ((11, 0.58), (8, 0.5), (6, 0.45))
"""Number of words of matter in a turn from which on their different ones must be a greater share than this; the second for assistants."""

TAIL = 3
"""Number of polite turns at the end that are a tail: so many, or one more where they hold scraps of matter."""

_POLITE = frozenset(
    "thank thanks thankful grateful gratitude appreciate appreciated appreciative welcome pleasure glad happy pleased delighted honored anytime cheers bye "
    "goodbye farewell care luck wishes best problem worries mention great good nice lovely wonderful fantastic awesome perfect excellent amazing superb "
    "blessed bless day evening morning night weekend week ahead likewise back soon talk later see take enjoy rest truly lot lots everything anything else "
    "need needs help helped helping helpful assist assistance support guidance advice time patience kindness kind chat talking speaking conversation hear "
    "hearing always feel free reach hesitate contact alright sure absolutely definitely indeed certainly course sounds know hope wish questions question "
    "further right fine yep oh today everyone dear friend sir madam ma'am mate touch keep stay safe beyond deeply means meant world million tons honestly "
    "nothing forget made make makes feels sorry apologies apology apologize least agreed plan solid brilliant better feel sounds like".split()
)
_COURTEOUS = _POLITE | FUNCTION_WORDS
_CORE = frozenset(
    "thank thanks thankful grateful gratitude appreciate appreciated welcome pleasure anytime cheers bye goodbye farewell luck best wishes worries mention care "
    "bless likewise evening weekend night sorry apology apologies agreed perfect brilliant wonderful".split()
)
_STUCK = ("!!!!!!!!", "????????", "..........")
_WINDOW = 60
"""Number of words of matter in which their variety is measured: the longer a text, the smaller it is."""

_IS_MATTER = bytes.maketrans(bytes((OTHER, FUNCTION, FOREIGN)), b"\1\0\1")
_STRETCHED = re.compile(r"(.)\1{5}|(..+?)\2{3}")
_SENTENCE = re.compile(r"[^.!?\n]+")


@scorer("loops", version=2)
def loops(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation that goes round in circles: within a turn, by saying an earlier turn again, or with a tail of thanks."""
    turns, words = conversation.turns, list_words(conversation)
    flags = flag_words(conversation).translate(_IS_MATTER).split(b"\2")
    bare = [list(compress(said, told)) for said, told in zip(words, flags, strict=False)]
    matter = [list(map(_STEMS.__getitem__, said)) for said in bare]
    text = join_plain(conversation)
    long = [word for said in bare for word in said if len(word) > 15] if max(map(len, chain(*bare)), default=0) > 15 else ()
    stuck = [*_STUCK, *(word for word in long if word.isalpha() and _STRETCHED.search(word))]
    if mark := next((mark for mark in stuck if mark in text), ""):
        number = next(number for number, turn in enumerate(turns, 1) if mark in turn.content.lower())
        return reject_turn("drop", number, turns[number - 1], mark, "is said again and again")
    unique = [*map(frozenset, matter)]
    for number, (turn, said, stems, once) in enumerate(zip(turns, words, matter, unique, strict=True), 1):
        varied = len(stems) - len(once) < 2 and 4 * len(stems) > len(said)
        marks = turn.content.count("?") < 3 and turn.content.count(".") < 5
        if not (varied and marks) and (again := _find_circle(turn, said, stems)):
            return reject_turn("drop", number, turn, again, "is said again and again")
    topic = frozenset(map(_STEMS.__getitem__, context.topic.lower().split()))
    if echo := next(_list_echoes(turns, words, [once - topic for once in unique]), None):
        number, earlier = echo
        return reject_turn("drop", number, turns[number - 1], turns[number - 1].content, f"says turn {earlier} again")
    if tail := _count_tail(words):
        start = len(turns) - tail
        return reject_turn("drop", start + 1, turns[start], turns[start].content, f"begins a tail of {tail} turns of thanks")
    return KEEP


class _Stems(dict[str, str]):
    """What words have in common with their other forms."""

    def __missing__(self, word: str) -> str:
        if len(self) > 50_000:
            self.clear()
        self[word] = stem = word[:5] if len(word) > 5 else word.rstrip("s") if len(word) > 3 else word
        return stem


_STEMS = _Stems()


def _find_circle(turn: Turn, words: Sequence[str], stems: Sequence[str]) -> str:
    """Words that a turn says again and again."""
    again = len(words) - 2 - len(set(zip(words, words[1:], words[2:], strict=False)))
    if again > 1:
        if again > 4 and again >= CIRCLES * (len(words) - 2):
            return " ".join(Counter(zip(words, words[1:], words[2:], strict=False)).most_common(1)[0][0])
        if found := _find_block(words, again) or _find_sentence(turn):
            return found
    if turn.content.count("?") > 2 and (found := _find_question(turn)):
        return found
    if turn.content.count(".") > 4 and (found := _find_beginning(turn)):
        return found
    if len(stems) - len(set(stems)) < 0.3 * len(stems):
        return ""
    plain = [stem for stem in stems if not stem.isdigit()][:_WINDOW]
    rules = VARIETY if turn.role == "assistant" else (VARIETY[0], VARIETY[2])
    if any(len(plain) >= least and len(set(plain)) <= share * len(plain) for least, share in rules):
        return " … ".join(stem for stem, _ in Counter(plain).most_common(2))
    return ""


def _find_block(words: Sequence[str], again: int) -> str:
    """Words that stand several times in a row: one or two words five times, more of them three times, ten or more twice. With `again`
    triples said again, a block cannot be longer than that and two words."""
    for size in range(1, min(24, again + 2, len(words) // 2) + 1):
        needed = size * (4 if size < 3 else 2 if size < 10 else 1)
        if (at := bytes(map(eq, words, words[size:])).find(b"\1" * needed)) >= 0:
            return " ".join(words[at : at + size])
    return ""


def _find_question(turn: Turn) -> str:
    """What three questions in a row ask for, one as the other."""
    asked = [
        {word[:4] for word in split_words(found[0]) if len(word) > 3 and word not in FUNCTION_WORDS}
        for found in re.finditer(r"[^.!?\n]+\?", turn.content)
    ]
    return next((min(same) for same in map(set.intersection, asked, asked[1:], asked[2:]) if same), "")


def _find_beginning(turn: Turn) -> str:
    """The two words with which five sentences of a turn begin, and most of them."""
    begins = Counter(" ".join(found[0].lower().split()[:2]) for found in _SENTENCE.finditer(turn.content))
    words, times = begins.most_common(1)[0]
    return words if times > 4 and 2 * times > begins.total() and " " in words else ""


def _find_sentence(turn: Turn) -> str:
    """A sentence of five words or more that stands twice in a turn."""
    seen: set[str] = set()
    for found in _SENTENCE.finditer(turn.content.lower()):
        sentence = " ".join(found[0].split())
        if sentence in seen and sentence.count(" ") > 3:
            return sentence
        seen.add(sentence)
    return ""


def _list_echoes(
    turns: Sequence[Turn], words: Sequence[Sequence[str]], matter: Sequence[frozenset[str]]
) -> Iterator[tuple[int, int]]:
    """Yield the number of a turn that says an earlier one again, and that one's."""
    seen: dict[Sequence[str], int] = {}
    known, again = set[str](), set[str]()
    for mine in matter:
        again |= known & mine
        known |= mine
    for number, (turn, said, mine) in enumerate(zip(turns, words, matter, strict=True)):
        if len(said) > 3 and said in seen:
            yield number + 1, seen[said] + 1
        seen[said] = number
        if len(mine) < 4 or len(mine & again) < LEAST_SHARED * len(mine):
            continue
        allowed, alike, least = (PARROTED_BY_USER, REPEATED_BY_USER, 6) if turn.role == "user" else (PARROTED, REPEATED, 4)
        if number and len(mine) >= least and len(mine & matter[number - 1]) >= allowed * len(mine):
            yield number + 1, number
        for earlier in range(number - 2, -1, -2):
            shared = len(mine & matter[earlier])
            if shared > 3 and 2 * shared >= alike * (len(mine) + len(matter[earlier])):
                yield number + 1, earlier + 1


def _count_tail(words: Sequence[Sequence[str]]) -> int:
    """Number of turns at the end that are nothing but thanks, good wishes and excuses; 0 if they are too few to be a tail."""
    tail = polite = pure = 0
    for said in reversed(words):
        if len(said) > 30 or (odd := sum(word not in _COURTEOUS for word in said)) > 3 or (odd and len(said) > 16):
            break
        pure += odd == 0 and pure == tail
        tail += 1
        polite += not _CORE.isdisjoint(said)
    if polite >= TAIL and (pure == tail or tail > TAIL):
        return tail
    return pure if polite and pure > TAIL else 0
