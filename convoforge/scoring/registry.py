"""Finds scorers and filters by name: ours, those of installed packages (entry points `convoforge.scorers`), and any `module:function`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from convoforge.errors import ConfigError, nearest
from convoforge.models import Conversation
from convoforge.planning.quality import DEFAULT_FILTERS, FilterAction, FilterChoice
from convoforge.project import find_project
from convoforge.scoring.contract import FilterVerdict, Scorer, ScoringContext
from convoforge.scoring.filters import DEFAULT, FILTERS
from convoforge.scoring.length import average_length
from convoforge.scoring.structure import alternation
from convoforge.scoring.turns import turn_count

GROUP = "convoforge.scorers"

OURS: Mapping[str, Scorer] = {one.name: one for one in (turn_count, average_length, alternation)}
"""Our own scorers, found without listing installed packages, which takes 30 ms."""


def find_scorers(names: Sequence[str]) -> tuple[Scorer, ...]:
    """The scorers that a spec names, in its order. Raises `ConfigError` for an unknown one, one that cannot be loaded, and a
    repeated name."""
    return _check_distinct("quality.scorers", names, tuple(_find(name, "scorer") for name in names))


def find_filters(choices: Iterable[FilterChoice]) -> tuple[Scorer, ...]:
    """The filters that a spec names, in its order, with the actions it gives them. Raises `ConfigError` as `find_scorers` does."""
    actions: dict[str, FilterAction | None] = {}
    for choice in choices:
        if choice.name == DEFAULT_FILTERS:
            actions = dict.fromkeys(DEFAULT) | actions
        else:
            actions[choice.name] = choice.action
    asked = {name: action for name, action in actions.items() if action != "off"}
    if points := next((name for name in asked if name in OURS), None):
        raise ConfigError(f"quality.filters: '{points}' gives points and is no filter: name it under quality.scorers")
    found = tuple(
        Scorer(name, FILTERS[name], _judge_redacting, action)
        if action == "redact"
        else replace(_find(name, "filter"), action=action)
        for name, action in asked.items()
    )
    return _check_distinct("quality.filters", [*asked], found)


def _check_distinct(where: str, names: Sequence[str], found: tuple[Scorer, ...]) -> tuple[Scorer, ...]:
    for number, one in enumerate(found):
        if twin := next((name for name, other in zip(names, found[:number], strict=False) if other.name == one.name), None):
            raise ConfigError(f"{where}: '{twin}' and '{names[number]}' are both called '{one.name}': rename one")
    return found


@cache
def _find(name: str, kind: Literal["scorer", "filter"]) -> Scorer:
    if name in OURS:
        return OURS[name]
    if name in FILTERS:
        return Scorer(name, FILTERS[name], lambda *asked: _load_ours(name).judge(*asked))
    if ":" in name:
        return _load(name, EntryPoint(name, name, GROUP), kind)
    installed = {one.name: one for one in entry_points(group=GROUP)}
    if name not in installed:
        known = {*FILTERS, *installed} - {*OURS} if kind == "filter" else {*OURS, *installed}
        raise ConfigError(f"quality.{kind}s: unknown {kind} '{name}'{nearest(name, known)} Or write module:function.")
    return _load(name, installed[name], kind)


@cache
def _load_ours(name: str) -> Scorer:
    """One of our filters, imported when it is first asked."""
    found = getattr(import_module(f"convoforge.scoring.filters.{name}"), name)
    assert isinstance(found, Scorer)
    return found


def _judge_redacting(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    from convoforge.scoring.redaction import judge_redacting

    return judge_redacting(conversation, context)


def _load(name: str, where: EntryPoint, kind: str) -> Scorer:
    try:
        with _project_on_path():
            found = where.load()
    except Exception as error:  # importing a module may raise anything
        raise ConfigError(f"quality.{kind}s: '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Scorer):
        raise ConfigError(f"quality.{kind}s: '{name}' is no {kind}: put @scorer(\"NAME\", version=1) above the function")
    return found


@contextmanager
def _project_on_path() -> Iterator[None]:
    """Make the project's own modules importable, wherever the command was started; after all others, so that none is hidden."""
    project = find_project()
    if project is None or str(project) in sys.path:
        yield
        return
    sys.path.append(str(project))
    try:
        yield
    finally:
        sys.path.remove(str(project))
