"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "bad"]
"""`bad` keeps something from working; a `warning` is what one should know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check looked at, how it is, and what to do about it, which is empty where all is well."""

    check: str
    state: State
    what: str
    todo: str = ""


def good(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, "good", what)


def warning(check: str, what: str, todo: str) -> Finding:
    """Something that one should know."""
    return Finding(check, "warning", what, todo)


def bad(check: str, what: str, todo: str) -> Finding:
    """Something that does not work."""
    return Finding(check, "bad", what, todo)
