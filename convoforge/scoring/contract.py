"""The contract of scorers and filters: a function of one conversation, with a name and a version.

It returns `Points` out of a maximum, or a `FilterVerdict`, each with a reason if the conversation falls short. It must be pure:
the same conversation always gives the same result, so a stored result is valid until the version changes. A new scorer is one
small file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from convoforge.errors import ConfigError
from convoforge.models import Conversation, Role, Scalar, ScorerResult


@dataclass(frozen=True, slots=True)
class ScoringContext:
    """The values a conversation was requested with: its cell's, and the template's parameters. Unknown values are empty.

    `language` (ISO 639, of all turns or of each role's), `allow` and `topics` (all values of its axis) are the spec's.
    `brief` is all the text of the template and of the spec's personas, `evaluation` the texts that training data may not contain.
    """

    dataset: str = ""
    template: str = ""
    persona: str = ""
    emotion: str = ""
    topic: str = ""
    tier: str = ""
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    language: str | Mapping[Role, str] = "en"
    allow: frozenset[str] = frozenset()
    brief: str = ""
    evaluation: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: str, cell: Any, parameters: Mapping[str, Scalar]) -> ScoringContext:
        """The context of what was requested for a cell, which may be a row of the ledger as well."""
        return cls(dataset, cell.template, cell.persona, cell.emotion, cell.topic, cell.tier, parameters)

    def language_of(self, role: Role) -> str:
        """The language that the turns of a role are written in."""
        return self.language if isinstance(self.language, str) else self.language[role]


@dataclass(frozen=True, slots=True)
class Points:
    """Points out of `maximum` (1 or more), and why some are missing ("" if none are)."""

    points: int
    maximum: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FilterVerdict:
    """Whether a conversation may be accepted, and why not ("" if it may). `drop` rejects it, `revise` leaves it to a person, `mark`
    accepts it and marks its row with the filter's name, `redact` publishes it with pseudonyms (`pii` alone). The action that a spec gives
    to a filter takes the place of all but `keep`."""

    verdict: Literal["keep", "drop", "revise", "mark", "redact"]
    reason: str = ""


KEEP = FilterVerdict("keep")

NOT_QUOTED = "not quoted, as it holds personal data"
"""The reason that others give for what is published with pseudonyms."""


@cache
def _keep(name: str, version: int) -> ScorerResult:
    """What most filters say of most conversations."""
    return ScorerResult(name, version, None, None, "keep")


ScorerFunction = Callable[[Conversation, ScoringContext], Points | FilterVerdict]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer or filter. Increase `version` whenever any conversation could get a different result: results stored with an older
    version are computed again, for free. `action` is what a spec has chosen instead of a filter's own verdict."""

    name: str
    version: int
    judge: ScorerFunction
    action: str | None = None

    def result(self, conversation: Conversation, context: ScoringContext) -> ScorerResult:
        """Score one conversation. Raises `ConfigError`, as a person has to fix it, if it fails or returns an invalid value."""
        try:
            found = self.judge(conversation, context)
        except Exception as error:
            raise ConfigError(f"scorer '{self.name}' failed: {error!r}; nothing is lost, mend it and run again") from error
        if found is KEEP:
            return _keep(self.name, self.version)
        match found:
            case Points(points, maximum, reason) if 0 <= points <= maximum and maximum > 0:
                return ScorerResult(self.name, self.version, points, maximum, None, reason)
            case FilterVerdict("keep" | "drop" | "revise" | "mark" as verdict, reason):
                decided = verdict if verdict == "keep" or self.action == "redact" else self.action or verdict
                return ScorerResult(self.name, self.version, None, None, decided, reason)
            case FilterVerdict("redact" as decided, reason) if self.action == "redact":
                return ScorerResult(self.name, self.version, None, None, decided, reason)
        raise ConfigError(
            f"scorer '{self.name}' returned {found!r}: return Points(0 to maximum, maximum) or FilterVerdict(keep, drop, revise or mark)"
        )


def scorer(name: str, *, version: int) -> Callable[[ScorerFunction], Scorer]:
    """Make a scorer from a function. Raises `ConfigError` for a name with characters other than letters, digits and `_.-`."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name, re.ASCII):
        raise ConfigError(f"scorer {name!r}: a name has up to 64 letters, digits, '_', '.' and '-'")
    return lambda judge: Scorer(name, version, judge)
