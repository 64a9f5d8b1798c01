"""Word salad and character noise: keyboard mash, encoded bytes, shuffled sentences, one word over and over.

Looks at form alone. Grammatical sentences that make no sense, and invented words that can be said, are not found: that needs a judge.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from operator import itemgetter

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.pairs import find_heaviest, list_unknown
from convoforge.scoring.text import FUNCTION_WORDS, ReadTurn, list_words, read_turns, split_words

LEAST_WORDS = 9
"""Words of a sentence, with two commas at most, that has at least one function word if it is one."""

LEAST_REPEATS = 5
"""Times that one stem stands in a heap, and `LEAST_REPEATED` is its share of the words."""

LEAST_REPEATED = 0.35
SURELY_REPEATED = 0.45
"""The share if it stands there only four times."""

LEAST_OF_TWO, OF_TWO = 7, 0.85
"""Words of matter, and the share of them that have one of two stems, where nothing else is spoken of."""

_DISORDER, _LEAST_DISORDER = 6.4, 6
"""The weight of a run of words, and their number, from which they are in no order: 2 of 1,663 labelled honest turns have such a run."""

_DISORDER_OF_ALL, _ALL = 4.8, 0.65
"""The weight if the run is most of the turn."""

_NEVER_SIDE_BY_SIDE = frozenset(
    (one, other)
    for ones, others in (
        (
            "the an my your our their every",
            "at of from for with into is are was were be been if and or but because you he they we to than them him though whether until nor so",
        ),
        ("a", "of if you he they we than them him because though whether until nor"),
        ("of from into with", "of if than because"),
    )
    for one in ones.split()
    for other in others.split()
)
_NEVER_LAST = frozenset(f"{one}{mark}" for one in ("the", "an", "every") for mark in ",.;")
_LEAST_SCRAPS, _SCRAPPED = 6, 0.4
"""Words of any length that are none, and their share, from which a turn is cut to scraps."""

_LEAST_TURNED = 3
"""Words that are none, but are one if they are turned or put together, and a fifth of all, from which they are no slip."""

_JUMBLED, _SURELY_JUMBLED = 1.5, 2
"""What is added to the weight of a turn for each pair of small words that no sentence has side by side ("the of"), and how many of them need
no weight."""

_LEAST_INVENTED, _INVENTED = 3, 0.3
"""Words of a sentence that are none, and their share, from which it is no slip."""

_BLOB = re.compile(
    r"\b(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*\d)[A-Za-z0-9+/]{24,}={0,2}|\b[0-9a-f]{24,}\b"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?:\b[0-9a-f]{2}:){10,}|[01]{24,}|(?:%[0-9A-F]{2}){4,}|(?:\\x[0-9a-f]{2}){3,}"
)
_MASHED = re.compile(r"(\S)\1{7,}|[\[\]{}'\"\\|<>^~#@&*;=]{6,}")
_SYMBOLS = re.compile(r"(?<!\S)[;,.:~^$%#@|\\*/=<>+]*(?:;;|\$\$|%%|##|~|\^|,,|@@|\\)[;,.:~^$%#@|\\*/=<>+]*(?!\S)|~\w+~")
_SIGNS = ("~", "^", "\\", ";;", "$$", "%%", "##", ",,", "@@")
_TURNED = re.compile(r"[\u0250-\u02af]")
_FORMS = {
    "glued": re.compile(r"[a-z]{30,}"),
    "unsayable": re.compile(r"[a-z]*(?:[bcdfghjklmnpqrstvwxz]{6,}|[qwxzj][bcdfgjkpqvxz]{2,}|[sdfghjkl]{5,})[a-z]*"),
    "no vowel": re.compile(r"(?!x+$)[bcdfghjklmnpqrstvwxz]{3,}"),
    "byte": re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{2}"),
    "quad": re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{4}"),
    "bits": re.compile(r"(?:[01]{8})+"),
    "code": re.compile(r"[a-z]{2}\d"),
    "leet": re.compile(r"(?=\w*[a-z])(?=\w*\d\w*[a-z]\w*\d|\w*[a-z]\d[a-z]|\d[a-z]+\d)[a-z0-9]{3,}"),
}
"""Forms of words that are none, the surest first."""

_ENCODED = {"byte": 5, "quad": 4, "bits": 3}
_UNSAID = _ENCODED | {"unsayable": 2, "no vowel": 3, "leet": 3, "glued": 1, "code": 6}
"""Words of a form from which they are no slip."""

_ABBREVIATED = frozenset(
    "hrs pls thx mths mts wks pts lbs sqft msg msgs ppl tmrw hmm hmmm shh pfft brrr grr psst nth mgmt dept mrs html http https ssl rpm rsvp pcs pkg tbd brb dvd dvr pdf gps hvac llc ghz mhz mph xxx xxxx".split()
)
_BACKWARDS = (
    frozenset(word[::-1] for word in FUNCTION_WORDS if len(word) > 2 and word.isalpha())
    - FUNCTION_WORDS
    - {"era", "tub", "mot", "noon", "won", "ton", "did", "ees", "pu", "tem", "nam"}
)
"""Function words read from their end."""

_STEM = itemgetter(slice(3))
_SPELLED = re.compile(r"(?:\b\w ){9}")
_LETTERS = frozenset("bcdefghjklmnopqrstuvwxyz")
_SCRAPS = re.compile(r"(?:(?:^|\s)[a-z]{3,}[.!?](?=\s)){5}")
"""Sentences of a word each. A turn that holds little else is short."""

_LONGEST_SCRAPS = 200

_JOINS = frozenset("if until because whereas though although unless while whether nor hence thus".split())
_MOST_JOINED = 15
"""Words of a sentence that three of `_JOINS` cannot hold together."""


@scorer("salad", version=6)
def salad(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation with a turn that is no language at all."""
    for turn, said, words in zip(read_turns(conversation), conversation.turns, list_words(conversation), strict=True):
        english = context.language_of(turn.role) == "en"
        different = frozenset(words)
        odd = list_unknown(different) if english else different
        if blob := next(filter(None, map(_find_blob, said.content.split())), "") or _find_forms(
            words, odd, _UNSAID if english else _ENCODED
        ):
            return FilterVerdict("drop", turn.name_fault(blob, "is noise, no words"))
        if english and (
            noise := _find_noise(turn)
            or _find_heap(words)
            or _find_stutter(turn, words, different)
            or _find_pile(turn, different)
            or _find_disorder(turn)
            or _find_misspelt(turn, words, odd, said.content)
            or _find_invented(turn, odd, said.content)
        ):
            return FilterVerdict("drop", turn.name_fault(noise, "is no sentence"))
    return KEEP


@lru_cache(maxsize=1 << 15)
def _find_blob(token: str) -> str:
    """Encoded bytes or a key held down, in what stands between two blanks."""
    if len(token) < 6 or (token.isalpha() and len(token) < 8):
        return ""
    found = _BLOB.search(token) or _MASHED.search(token)
    return found.group() if found else ""


def _find_forms(words: Sequence[str], odd: Iterable[str], enough: Mapping[str, int]) -> str:
    """The words of a form of which there are enough ("" if there are not). Only `odd` words have one."""
    if not any(map(_tell_form, odd)):
        return ""
    forms = list(map(_tell_form, words))
    for form in enough.keys() & set(forms):
        together = form != "byte" or ("byte", "byte") in pairwise(forms)  # seats and batches have such numbers too
        if forms.count(form) >= enough[form] and together:
            return " ".join(word for word, its in zip(words, forms, strict=True) if its == form)
    return ""


def _find_noise(turn: ReadTurn) -> str:
    """Symbols or letters upside down, if there are several; a scrap on each line."""
    if not turn.plain.isascii() and len(_TURNED.findall(turn.plain)) >= 5:
        return turn.plain
    if any(map(turn.plain.__contains__, _SIGNS)) and len(signs := _SYMBOLS.findall(turn.plain)) >= 3:
        bare = "".join(turn.plain.split())
        if sum(not sign.isalnum() for sign in bare) >= 0.3 * len(bare):
            return " ".join(signs)
    lines = turn.plain.split("\n") if turn.plain.count("\n") >= 4 else ()
    scraps = [line for line in lines if line.strip()]
    scrappy = len(scraps) >= 5 and sum(len(line.strip()) for line in scraps) < 2.5 * len(scraps)
    return turn.plain if scrappy and 2 * sum(line.strip().isalpha() for line in scraps) > len(scraps) else ""


@lru_cache(maxsize=1 << 15)
def _tell_form(word: str) -> str:
    """In which way a word is none ("" if it may be one)."""
    if word in FUNCTION_WORDS or word in _ABBREVIATED:
        return ""
    return next((name for name, form in _FORMS.items() if form.fullmatch(word)), "")


def _find_heap(words: Sequence[str]) -> str:
    """One stem over and over."""
    if len(words) >= 8 and len(set(map(_STEM, words))) <= (1 - LEAST_REPEATED) * len(words) + 1:  # spares most turns the counting
        stems = [word[:4] for word in words if word not in FUNCTION_WORDS and word.isalpha()]
        if len(stems) - len(set(stems)) >= LEAST_REPEATS - 1:
            once = [word[:4] for word, _ in groupby(words)]  # "sell, sell, sell" is emphasis
            stem, times = Counter(stem for stem in once if stem in stems).most_common(1)[0]
            if times >= (LEAST_REPEATED if times >= LEAST_REPEATS else SURELY_REPEATED) * len(once) and times > 3:
                return " ".join(word for word in words if word.startswith(stem))
        short = Counter(word[:3] for word in words if word not in FUNCTION_WORDS and word.isalpha())
        if short.total() >= LEAST_OF_TWO and sum(times for _, times in short.most_common(2)) >= OF_TWO * short.total():
            return " ".join(words)
    return ""


def _find_stutter(turn: ReadTurn, words: Sequence[str], different: frozenset[str]) -> str:
    """Every word twice, words read from their end, letters with blanks between them, a heap of conjunctions, a word a sentence."""
    if not _LETTERS.isdisjoint(different) and (found := _SPELLED.search(turn.plain)):
        return found.group()
    if not _BACKWARDS.isdisjoint(different) and sum(word in _BACKWARDS for word in words) > 2:
        return turn.plain
    if (
        len(words) - len(different) > 3
        and (twice := sum(one == other and one.isalpha() for one, other in pairwise(words))) > 3
        and 4 * twice > len(words)
    ):
        return turn.plain
    if len(_JOINS.intersection(different)) > 2:
        for sentence in turn.sentences:
            if sentence.count(" ") < _MOST_JOINED and len(_JOINS.intersection(split_words(sentence))) > 2:
                return sentence
    if len(turn.plain) < _LONGEST_SCRAPS and (found := _SCRAPS.search(turn.plain)):
        return found.group()
    return ""


def _find_pile(turn: ReadTurn, different: frozenset[str]) -> str:
    """A sentence of many words, none of which joins the others, in a turn that has hardly any that do."""
    if len(different) < LEAST_WORDS or 5 * len(FUNCTION_WORDS.intersection(different)) > len(different):
        return ""
    for sentence in turn.sentences:
        if sentence.count(",") < 3:
            words = [word for word in split_words(sentence) if word.isalpha() or "'" in word]
            if len(words) >= LEAST_WORDS and sum(word in FUNCTION_WORDS for word in words) <= len(words) // 14:
                return sentence
    return ""


def _find_disorder(turn: ReadTurn) -> str:
    """Words in an order that English does not put them in."""
    jumbled = _count_jumbled(turn.plain)
    if jumbled >= _SURELY_JUMBLED:
        return turn.plain
    weight, run = find_heaviest(turn.plain)
    weight += _JUMBLED * jumbled
    if weight <= _DISORDER_OF_ALL or (length := run.count(" ") + 1) < _LEAST_DISORDER:
        return ""
    return run if weight > _DISORDER or length > _ALL * len(turn.plain.split()) else ""


def _count_jumbled(plain: str) -> int:
    """How often a small word stands where a noun should, as in "the of" and "my."."""
    words = plain.split()
    return sum(pair in _NEVER_SIDE_BY_SIDE for pair in pairwise(words)) + sum(map(_NEVER_LAST.__contains__, words))


def _find_misspelt(turn: ReadTurn, words: Sequence[str], odd: Collection[str], content: str) -> str:
    """Words read from their end or cut into pieces: turned or put together, what is none makes one."""
    strange = [word for word in odd if word.isalpha() and word not in _ABBREVIATED] if len(odd) >= _LEAST_TURNED else ()
    if len(strange) < _LEAST_TURNED:
        return ""
    turned = [word[::-1] for word in strange if len(word) > 1]
    whole = [one + other for one, other in pairwise(words) if one in odd or other in odd]
    if sum(map(content.__contains__, strange)) >= max(_LEAST_SCRAPS, _SCRAPPED * len(words)):  # names have capitals
        return turn.plain
    for made in (turned, whole):
        known = len(made) - len(list_unknown(frozenset(made)).intersection(made))
        if known >= _LEAST_TURNED and 5 * known > len(words):
            return turn.plain
    return ""


def _find_invented(turn: ReadTurn, odd: Collection[str], content: str) -> str:
    """A sentence of which many words are none. What is written with a capital is a name."""
    invented = [word for word in odd if len(word) > 3 and word.isalpha()] if len(odd) >= _LEAST_INVENTED else ()
    if len(invented) < _LEAST_INVENTED:
        return ""
    none = {word for word in invented if word.capitalize() not in content}
    for sentence in turn.sentences:
        words = split_words(sentence)
        if len(none.intersection(words)) >= max(_LEAST_INVENTED, _INVENTED * len(words)):
            return sentence
    return ""
