r"""Which words a text must hold for a pattern to match it: what is sought in one pass, so that few patterns are tried.

`\bgo (?:to hell|jump)\b` needs "go to hell" or "go jump". The same is done by RE2's filter for many patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from re import _parser  # type: ignore[attr-defined]  # its tree of a pattern is nowhere public
from typing import Any

from convoforge.scoring.text import FUNCTION_WORDS

_MOST, _SHORTEST, _LONG = 48, 4, 8
"""Number of literals that a pattern may need one of; characters of a literal that is looked for; from which none is any better."""

Literals = frozenset[str]


def find_literals(pattern: str) -> Literals | None:
    """Texts of which one stands in whatever a pattern matches; None where there is no such set of a use. Blanks at their ends are left
    out, and so are lookaheads."""
    whole, needed = _read_sequence(_parser.parse(pattern))
    return _clean(whole) if whole is not None else needed


def _clean(texts: Iterable[str]) -> Literals | None:
    """Those of the texts that hold none of the others; None if one is too short."""
    stripped = {text.strip() for text in texts}
    if not stripped or min(map(len, stripped)) < _SHORTEST:
        return None
    kept: list[str] = []
    for text in sorted(stripped, key=lambda one: (len(one), one)):
        if not any(shorter in text for shorter in kept):
            kept.append(text)
    return frozenset(kept)


def _choose(found: Sequence[Literals]) -> Literals | None:
    """The set whose weakest text is strongest, of equal ones the smallest."""
    return max(found, key=lambda one: (min(map(_rate, one)), -len(one)), default=None)


def _rate(text: str) -> int:
    """How seldom a text is: by its length, or not at all if it holds nothing but function words."""
    return 0 if FUNCTION_WORDS.issuperset(text.split()) else min(len(text), _LONG)


def _read_sequence(parts: Iterable[tuple[Any, Any]]) -> tuple[set[str] | None, Literals | None]:
    """All texts that a sequence matches, if they are few; or else texts of which one is needed."""
    run, found, whole = {""}, list[Literals](), True
    for operation, given in parts:
        texts, needed = _read_part(str(operation), given)
        if texts is not None and len(run) * len(texts) <= _MOST:
            run = {before + after for before in run for after in texts}
            continue
        whole = False
        found += filter(None, (_clean(run), needed))
        run = {""} if texts is None else texts
    if whole:
        return run, None
    return None, _choose([*found, *filter(None, (_clean(run),))])


def _read_part(operation: str, given: Any) -> tuple[set[str] | None, Literals | None]:
    match operation:
        case "LITERAL":
            return {chr(given)}, None
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return {""}, None
        case "IN" if len(given) <= 4 and all(str(kind) == "LITERAL" for kind, _ in given):
            return {chr(code) for _, code in given}, None
        case "SUBPATTERN":
            return _read_sequence(given[-1])
        case "BRANCH":
            return _read_branches([_read_sequence(one) for one in given[1]])
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, repeated = given
            texts, needed = _read_sequence(repeated)
            if (least, most) == (0, 1) and texts is not None:
                return texts | {""}, None
            return None, (_clean(texts) if texts is not None else needed) if least else None
    return None, None


def _read_branches(branches: Sequence[tuple[set[str] | None, Literals | None]]) -> tuple[set[str] | None, Literals | None]:
    texts = [whole for whole, _ in branches if whole is not None]
    if len(texts) == len(branches) and len(together := set().union(*texts)) <= _MOST:
        return together, None
    needed = [_clean(whole) if whole is not None else one for whole, one in branches]
    if None in needed:
        return None, None
    return None, frozenset().union(*filter(None, needed))
