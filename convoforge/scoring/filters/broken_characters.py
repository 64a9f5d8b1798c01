"""Characters that were broken on the way, or that nobody sees: U+FFFD, mojibake, bidirectional overrides, escapes left as text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from html.entities import html5

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import FilterVerdict, ScoringContext, scorer
from convoforge.scoring.patterns import PatternSet, join_turns, judge_turns, list_patterns

_RIGHT_TO_LEFT = frozenset("ar fa he iw ur yi ps sd ug dv ckb".split())
_WIDE = frozenset("zh ja ko yue".split())
_WITHOUT_SPACES = frozenset("th km lo my bo".split())

_ESCAPES = PatternSet(
    list_patterns(
        (
            "&",
            r"&(?:#\d{2,7}|#[xX][\da-fA-F]{2,6});?|&(?:nbsp|amp|quot|apos|[lr][sd]quo|[mn]dash|hellip)\b",
            0,
            "is an HTML entity, left as text",
        ),
        (
            "u201 u202 u20a u00 x27 x22",
            r"u(?<=[a-zA-Z ]u)(?:20(?:1[3489cdCD]|26|22|a[cC]|AC)|00[a-fA-F][\da-fA-F])(?![\da-fA-F])|x2[27](?<=[a-z]x2.)(?=s|t|re|ve|ll|d|m)",
            0,
            "is an escape, left as text",
        ),
        ("=", r"(?:=[\dA-F]{2}){2,}|=3D|=(?<=[a-z.,]=)(?:20)?\n", 0, "is quoted-printable text"),
        (
            "%",
            r"%(?:[\dA-F]{2}%[\dA-F]{2}|(?<=[A-Za-z,.]%)(?:20|27|2C|3F|0A|22)(?=[A-Za-z%])|(?<=\s%)2\d(?=\s\D))",
            0,
            "is URL-encoded text",
        ),
        ("+", r"\b[A-Za-z']+\+(?:[A-Za-z']+\+){3}[A-Za-z]", 0, "is URL-encoded text"),
        ("^m ^@ ^[ ^h", r"\^(?:M|@|\[\[?\d*|H)(?<=[\w.,]\^.)", 0, "is a control character, left as text"),
        ("<u+ <0x u+0 u+1 u+2 u+f", r"<0x[\dA-F]{2}>|U\+[\dA-F]{4,5}\b", 0, "is an escape, left as text"),
        ("`", r"`(?<=[A-Za-z]`)(?:s|t|m|re|ve|ll|d)\b", 0, "is an accent in place of an apostrophe"),
        ("$", r"\$[\d,.]*[OlIS](?<=[\d,.].)[\d,.]", 0, "is a letter in place of a figure"),
        ("?t ?s ?m ?re ?ve ?ll ?d", r"\?(?<=[A-Za-z]\?)(?:s|t|m|re|ve|ll|d)\b.*", 0, "has lost a character"),
        ("␣?", r"\?(?<=\s\?)(?=[A-Za-z])", 0, "has lost a character"),
        ("=9", r"=9[1-7](?<=[A-Za-z]=..)(?=[a-z\s])", 0, "is quoted-printable text"),
        ("[0m [1m [3 [4 [9", r"\[(?:\d{1,2};)*\d{1,2}m(?=\S)|\[0m", 0, "is the color code of a terminal"),
        ("+", r"\+(?<=[A-Za-z]\+)[A-Z][A-Za-z\d]{2,3}-(?=[a-z])", 0, "is UTF-7 text"),
        ("+a", r"\+A[A-Z][\w/]{1,2}-", 0, "is UTF-7 text"),
    )
)
_PATH = re.compile(
    r"(?<![\w\\])(?:[A-Za-z]:\\|\\\\(?=[\w.-]+\\)|\\(?![nrtux]|U0))\w[\w .$~-]{0,60}(?:\\[\w.$~-]{1,60}){0,12}|(?:\\\w[\w.$~-]{0,60}){0,12}\\(?![nrtux\d])\w[\w.$~-]{0,60}(?:\\[\w.$~-]{1,60}){1,12}"
)
"""C:\new and \\server\tools hold no escapes."""

_BACKSLASHES = re.compile(
    # buy\rent is none: a single one counts where no word goes on
    r"\\[nrt](?![a-z])|(?<![\w\\:])\\[nrt]|\\[nrt][^\\]{1,300}\\[nrt]|\\u[\da-fA-F]{4}|\\U000[\da-fA-F]{5}|\\u\{[\da-fA-F]+\}"
    r"|\\x[\da-fA-F]{2}|\\[0-3][0-7]{2}|\\N\{|\\[\"'’]|(?<!¯)\\[$*_#&%~`>\[\]()]|\\/"
)

_ENTITY = re.compile(r"&([A-Za-z]{2,24}\d{0,2};)")

_IN_LATIN = re.compile(
    # what is left of mojibake where control characters were taken out, or a letter's accent was read as a letter of its own
    r"â€|Ã[^\w\s]|Ã(?=\s|$)|Â(?=[\s$£€¥°·«»]|$)|ï¿½|ï»¿|ÿþ|þÿ|锟|烫烫|屯屯"
    r"|‚Ä|[\u2500-\u25a0](?=\w)|(?<=\w)[\u2500-\u25a0\u25af\u2fff]|[A-Za-z]¿|[A-Za-z]´[a-z]|[a-z][À-ÖØ-Þ](?:[a-z]|(?![A-Za-z]))|Â[’“”‘]|‰Û|¤|\xa0{2}|(?<=\w)[‚„]|[□▯]|([◊▢◻])\1|(?<=[a-z])[¤¦¨¬¯¸](?=[a-z])"
)
_IN_ENGLISH = re.compile(r"[a-z]â(?:(?:s|t|re|ve|ll|d|m)\b|\s)")
"""An apostrophe or a dash that kept a third of its bytes; in French, "mât" is a word."""

_MIXED_SCRIPTS = re.compile(
    r"\d,?[\u0400-\u04ff]\d|[A-Za-z][\u0400-\u052f\u0391-\u03a9\u03bf\u03c1\u03bd\u0561-\u0587\u13a0-\u13ff]|[\u0400-\u052f\u03bf\u0391-\u03a9]+[A-Za-z]"
)
_FOREIGN = "\u3400-\u9fff\uac00-\ud7a3\uff61-\uff9f\u3040-\u30ff\u0600-\u06ff\u0e00-\u0e7f"
_FOREIGN_IN_WORD = re.compile(rf"[A-Za-z][{_FOREIGN}]|[{_FOREIGN}][A-Za-z]")
_STYLED = re.compile(
    "[\U0001d400-\U0001d7ff]{2}|[\U0001f110-\U0001f169\U0001f170-\U0001f189]{2}|[\u24b6-\u24e9]{2}|[\uff21-\uff3a\uff41-\uff5a]"
    "|(?:[\u0250-\u02af\u1d00-\u1dbf][ a-z]{0,2}){3}|[\ufb00-\ufb06]"
)
_STACKED = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{3}|(?:.[\u0332-\u0338\u20d2\u20d3\u20e5]){2}")
_JOINED = re.compile("[A-Za-z\\s][\u200c\u200d]|[\u200c\u200d][A-Za-z]|[A-Za-z][\ufe00-\ufe0f]")
_RUN = re.compile(r"[^\x00-\x7f]{2,12}")
_ENCODINGS = ("cp1252", "latin-1", "mac_roman", "cp437", "cp850", "cp1250", "cp1251", "iso8859-15")
_PUNCTUATED = re.compile("[“”‘’–—…]{2}$")
"""What may follow an accented letter where a word ends."""

_PLAUSIBLE = re.compile(
    "[\xa0-\u017f\u2010-\u203a\u20ac\u2122\u2190-\u2193\u2022\u2713\u2714\u2212\ufeff\ufffd\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]+"
)


@scorer("broken_characters", version=1)
def broken_characters(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """Drops a conversation with characters that were broken, that hide text or turn its direction, or escapes left as text."""
    text = join_turns(conversation)
    if not text.isascii() or not text.replace("\n", "").isprintable():
        found = judge_turns(conversation, lambda turn: next(_find_odd(turn, context.language_of(turn.role)), None))
        if found.verdict != "keep":
            return found
    if "\\" in text or ("&" in text and ";" in text):
        found = judge_turns(conversation, _find_escape)
        if found.verdict != "keep":
            return found
    return _ESCAPES.judge(conversation)


def _find_escape(turn: Turn) -> tuple[str, str] | None:
    if found := next((found for found in _ENTITY.finditer(turn.content) if found[1] in html5), None):
        return found[0], "is an HTML entity, left as text"
    found = _BACKSLASHES.search(_PATH.sub(" ", turn.content)) if "\\" in turn.content else None
    return found and (found[0], "is an escape, left as text")


def _find_odd(turn: Turn, language: str) -> Iterator[tuple[str, str]]:
    text = turn.content
    if text.isascii() and text.replace("\n", "").isprintable():
        return
    for char in dict.fromkeys(text):
        flag = char in _TAGS and "\U0001f3f4" in text  # those of England, Scotland and Wales are written with tags
        if not (flag or (char.isascii() and char.isprintable())) and (fault := _name_fault(char, language)):
            yield _around(text, text.index(char)), f"holds U+{ord(char):04X}, {fault}"
    for pattern, fault in (
        (_STACKED, "has marks stacked on letters"),
        (_JOINED, "holds an invisible joiner"),
        (_STYLED, "has letters that only look like letters"),
        (_MIXED_SCRIPTS, "mixes scripts within a word"),
    ):
        if (found := pattern.search(text)) and not (pattern is _STYLED and language in _WIDE):
            yield _around(text, found.start()), fault
    if language not in _WIDE and (found := _FOREIGN_IN_WORD.search(text)):
        yield _around(text, found.start()), "mixes scripts within a word"
    if found := _IN_LATIN.search(text) or (_IN_ENGLISH.search(text) if language == "en" else None):
        yield _around(text, found.start()), "was read in the wrong encoding"
    for found in _RUN.finditer(text):
        if _is_mojibake(found[0]):
            yield _around(text, found.start()), "was read in the wrong encoding"


_TAGS = frozenset(map(chr, range(0xE0020, 0xE0080)))


@lru_cache(maxsize=4096)
def _name_fault(char: str, language: str) -> str:
    """What is wrong with a character wherever it stands; "" for nothing."""
    category = unicodedata.category(char)
    if char == "\ufffd":
        return "where a character was lost"
    if category in ("Cc", "Zl", "Zp"):
        return "" if char in "\n\r\t" else "a control character"
    if category in ("Cs", "Co", "Cn"):
        return "which is no character"
    if category != "Cf" and char not in "\u115f\u1160\u3164\uffa0\u2800\u034f":
        return ""
    if char in "\u202a\u202b\u202c\u2066\u2067\u2068\u2069\u200e\u200f\u061c":
        return "" if language in _RIGHT_TO_LEFT else "which turns the direction of reading"
    if char in "\u202d\u202e":
        return "which turns the direction of reading"
    if char in "\u200c\u200d" or (char == "\u200b" and language in _WITHOUT_SPACES) or "\u0600" <= char <= "\u08ff":
        return ""
    return "which nobody sees"


@lru_cache(maxsize=1024)
def _is_mojibake(run: str) -> bool:
    """Whether the characters are the bytes of fewer characters in UTF-8, read in an old encoding. Any two bytes may be a character of
    some script, so only those count that occur in texts such as these."""
    for encoding in _ENCODINGS:
        try:
            meant = run.encode(encoding).decode()
        except UnicodeError:
            continue
        if _PLAUSIBLE.fullmatch(meant) or (len(run) > 2 and meant.isalpha() and not _PUNCTUATED.search(run)):
            return True
    return False


def _around(text: str, index: int) -> str:
    start = text.rfind(" ", 0, index) + 1
    end = text.find(" ", index + 1)
    return text[max(start, index - 20) : end if 0 < end < index + 20 else index + 12]
