r"""Which words a text must hold for a pattern to match it: what is sought in one pass, so that few patterns are tried.

`\bgo (?:to hell|jump)\b` needs "go to hell" or "go jump", as words of their own: `\b` stays at an end of a text, so that "ears" is not
looked at in "years". The same is done by RE2's filter for many patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from re import _parser  # type: ignore[attr-defined]  # its tree of a pattern is nowhere public
from typing import Any

from convoforge.scoring.patterns import WORD_EDGE, is_word
from convoforge.scoring.text import FUNCTION_WORDS

_MOST, _SHORTEST, _LONG = 48, 4, 8
"""Number of literals that a pattern may need one of; characters of a literal that is looked for; from which none is any better."""

Literals = frozenset[str]


def find_literals(pattern: str) -> Literals | None:
    """Texts of which one stands in whatever a pattern matches; None where there is no such set of a use. An end of a text that must be
    that of a word has a `WORD_EDGE`, and blanks there become one. Lookaheads are left out."""
    whole, needed = _read_sequence(_parser.parse(pattern))
    return _clean(whole) if whole is not None else needed


def _clean(texts: Iterable[str]) -> Literals | None:
    """Those of the texts that hold none of the others; None if one is too short."""
    written = set(map(_write_edges, texts))
    if not written or min(len(text.strip(WORD_EDGE)) for text in written) < _SHORTEST:
        return None
    kept: list[str] = []
    for text in sorted(written, key=lambda one: (len(one), one)):
        if not any(shorter in text for shorter in kept):
            kept.append(text)
    return frozenset(kept)


def _write_edges(text: str) -> str:
    """A text with blanks and edges inside it as they are read, and at its ends an edge where there was any."""
    inside = text.replace(WORD_EDGE, "").strip()
    before, after = (end.isspace() or end == WORD_EDGE for end in (text[:1], text[-1:]))
    return f"{WORD_EDGE * (before and is_word(inside[:1]))}{inside}{WORD_EDGE * (after and is_word(inside[-1:]))}"


def _choose(found: Sequence[Literals]) -> Literals | None:
    """The set whose weakest text is strongest, of equal ones the smallest."""
    return max(found, key=lambda one: (min(map(_rate, one)), -len(one)), default=None)


def _rate(text: str) -> int:
    """How seldom a text is: by its length, or not at all if it holds nothing but function words."""
    bare = text.strip(WORD_EDGE)
    return 0 if FUNCTION_WORDS.issuperset(bare.split()) else min(len(bare), _LONG)


def _read_sequence(parts: Iterable[tuple[Any, Any]], start: str = "") -> tuple[set[str] | None, Literals | None]:
    """All texts that a sequence matches, if they are few; or else texts of which one is needed. `start` is a `WORD_EDGE` if the sequence
    stands after one."""
    run, found, whole = {start}, list[Literals](), True
    for operation, given in parts:
        texts, needed = _read_part(str(operation), given, start)
        start = _read_end(str(operation), given, start)
        if texts is not None and len(run) * len(texts) <= _MOST:
            run = {before + after for before in run for after in texts}
            continue
        whole = False
        found += filter(None, (_clean(run), needed))
        run = {start} if texts is None else texts
    if whole:
        return run, None
    return None, _choose([*found, *filter(None, (_clean(run),))])


def _read_part(operation: str, given: Any, start: str) -> tuple[set[str] | None, Literals | None]:
    match operation:
        case "LITERAL":
            return {chr(given)}, None
        case "AT" if str(given) == "AT_BOUNDARY":
            return {WORD_EDGE}, None
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return {""}, None
        case "IN" if len(given) <= 4 and all(str(kind) == "LITERAL" for kind, _ in given):
            return {chr(code) for _, code in given}, None
        case "SUBPATTERN":
            return _read_sequence(given[-1], start)
        case "BRANCH":
            return _read_branches([_read_sequence(one, start) for one in given[1]])
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, repeated = given
            texts, needed = _read_sequence(repeated)
            if (least, most) == (0, 1) and texts is not None:
                return texts | {""}, None
            return None, (_clean(texts) if texts is not None else needed) if least else None
    return None, None


def _read_end(operation: str, given: Any, start: str) -> str:
    """A `WORD_EDGE` if a part, which stands after `start`, surely ends with one."""
    match operation:
        case "AT":
            return WORD_EDGE if str(given) == "AT_BOUNDARY" else start
        case "ASSERT" | "ASSERT_NOT":
            return start
        case "LITERAL":
            return "" if is_word(chr(given)) else WORD_EDGE
        case "SUBPATTERN":
            return _read_ends(given[-1], start)
        case "BRANCH":
            return min(_read_ends(one, start) for one in given[1])
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, _, repeated = given
            return _read_ends(repeated, start) if least else min(start, _read_ends(repeated, start))
    return ""


def _read_ends(parts: Iterable[tuple[Any, Any]], start: str) -> str:
    return reduce(lambda end, part: _read_end(str(part[0]), part[1], end), parts, start)


def _read_branches(branches: Sequence[tuple[set[str] | None, Literals | None]]) -> tuple[set[str] | None, Literals | None]:
    texts = [whole for whole, _ in branches if whole is not None]
    if len(texts) == len(branches) and len(together := set().union(*texts)) <= _MOST:
        return together, None
    needed = [_clean(whole) if whole is not None else one for whole, one in branches]
    if None in needed:
        return None, None
    return None, frozenset().union(*filter(None, needed))
