"""Scores a conversation with the scorers and filters that a spec names. Pure functions: scoring again is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

from convoforge.errors import ConfigError
from convoforge.models import Conversation, Quality, Role, ScorerResult
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.project import find_project
from convoforge.scoring.contract import KEEP, NOT_QUOTED, FilterVerdict, Points, Scorer, ScoringContext, scorer
from convoforge.scoring.duplicates import content_hash
from convoforge.scoring.filters import LANGUAGES
from convoforge.scoring.judge import Judge
from convoforge.scoring.registry import find_filters, find_scorers

__all__ = [
    "KEEP",
    "Conversation",
    "FilterVerdict",
    "Judge",
    "Points",
    "Rubric",
    "Scored",
    "Scorer",
    "ScoringContext",
    "content_hash",
    "scorer",
]


@dataclass(frozen=True, slots=True)
class Scored:
    """A conversation's quality, and the version of the rubric that gave it."""

    rubric: str
    quality: Quality


@dataclass(frozen=True)
class Rubric:
    """The scorers and filters of a spec, and what of the spec and its templates they go by. The `judge` is not asked here: see
    `Judge.apply`."""

    scorers: tuple[Scorer, ...]
    filters: tuple[Scorer, ...] = ()
    language: str | Mapping[Role, str] = "en"
    allow: frozenset[str] = frozenset()
    evaluation: tuple[str, ...] = ()
    read_brief: Callable[[str], str] = lambda _template: ""
    read_template: Callable[[str], str] = lambda _template: ""
    templates: tuple[str, ...] = ()
    judge: Judge | None = None
    topics: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: DatasetSpec, library: Library) -> Rubric:
        """The rubric of a spec. Raises `ConfigError` for scorers, filters and files that cannot be loaded."""
        quality, filters = spec.quality, find_filters(spec.quality.filters)
        if any(one.name == "languages" for one in filters) and (unknown := [*{*spec.languages} - LANGUAGES]):
            raise ConfigError(
                f"language: the filter languages knows no '{unknown[0]}', and would drop every conversation: write another code "
                "(English is en, not eng), or add {languages: off} to quality.filters"
            )
        return cls(
            find_scorers(quality.scorers),
            filters,
            spec.language,
            frozenset(quality.allow),
            tuple(map(_read_evaluation, quality.evaluation)),
            cache(lambda name: _read_brief(library, name, spec.axes.persona)),
            lambda name: _read_brief(library, name),
            spec.templates,
            Judge.of(quality.judge, library.folder) if quality.judge else None,
            spec.axes.topic,
        )

    @cached_property
    def version(self) -> str:
        """Names and versions of the scorers, and a digest of all that filters go by: `turns=1,length=1,structure=1,filters=3f2a9c01`.
        Scores of another version are computed again; a persona more makes none, as no earlier conversation was told of it."""
        names = [f"{one.name}={one.version}" for one in self.scorers]
        if self.filters:
            filters = [(one.name, one.version, one.action) for one in self.filters]
            briefs = [self.read_template(name) for name in self.templates if any(one.name == "echo" for one in self.filters)]
            topics = self.topics if any(one.name == "off_topic" for one in self.filters) else ()
            parts = repr((filters, self.language, sorted(self.allow), self.evaluation, briefs, *topics))
            names.append(f"filters={sha256(parts.encode()).hexdigest()[:8]}")
        if self.judge is not None:
            names.append(f"judge={self.judge.label}")
        return ",".join(names)

    def score(self, conversation: Conversation, context: ScoringContext) -> Scored:
        """Score a conversation. Raises `ConfigError` if a scorer fails, or a filter gives points. Filters that keep it leave no
        result."""
        context = replace(
            context,
            language=self.language,
            allow=self.allow,
            brief=self.read_brief(context.template) if self.filters and context.template else "",
            evaluation=self.evaluation,
            topics=self.topics,
        )
        results = tuple(one.result(conversation, context) for one in self.scorers)
        found = [one.result(conversation, context) for one in self.filters]
        if points := next((one.name for one in found if one.verdict is None), None):
            raise ConfigError(f"quality.filters: '{points}' gives points and is no filter: name it under quality.scorers")
        pii = {one.name for one in self.filters if one.action == "redact"}
        if any(one.name in pii and one.verdict != "keep" for one in found):
            found = [one if one.verdict == "keep" or one.name in pii else replace(one, reason=NOT_QUOTED) for one in found]
        return Scored(self.version, Quality(_total(results), (*results, *(one for one in found if one.verdict != "keep"))))


def _read_brief(library: Library, template: str, personas: Sequence[str] = ()) -> str:
    """All that the model is told, but for the values of a cell; nothing of a template that is not there."""
    if template not in library.names():
        return ""
    return "\n".join([library.template(template).text, *(library.persona(one).text for one in personas)])


def _read_evaluation(name: str) -> str:
    path = Path(name).expanduser()
    path = path if path.is_absolute() else (find_project() or Path()) / path
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"quality.evaluation: {path} cannot be read: {why}. Give a text file, such as JSONL") from error


def _total(results: Sequence[ScorerResult]) -> int:
    """The points scaled to a maximum of 10, rounded to a whole number (halves up), at least 1; 10 if there are only filters."""
    points, maximum = (sum(getattr(one, name) or 0 for one in results) for name in ("points", "maximum"))
    return max(1, (20 * points + maximum) // (2 * maximum)) if maximum else 10
