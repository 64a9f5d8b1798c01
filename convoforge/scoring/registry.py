"""Finds scorers by name: ours, those of installed packages (entry points `convoforge.scorers`), and any `module:function`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from convoforge.errors import ConfigError, nearest
from convoforge.project import find_project
from convoforge.scoring.contract import Scorer
from convoforge.scoring.length import average_length
from convoforge.scoring.structure import alternation
from convoforge.scoring.turns import turn_count

GROUP = "convoforge.scorers"

OURS: Mapping[str, Scorer] = {one.name: one for one in (turn_count, average_length, alternation)}
"""Our own scorers, found without listing installed packages, which takes 30 ms."""


def find_scorers(names: Sequence[str]) -> tuple[Scorer, ...]:
    """The scorers that a spec names, in its order. Raises `ConfigError` for an unknown one, one that cannot be loaded, and a
    repeated name."""
    found = tuple(_find(name) for name in names)
    for number, one in enumerate(found):
        if twin := next((name for name, other in zip(names, found[:number], strict=False) if other.name == one.name), None):
            raise ConfigError(f"quality.scorers: '{twin}' and '{names[number]}' are both called '{one.name}': rename one")
    return found


@cache
def _find(name: str) -> Scorer:
    if name in OURS:
        return OURS[name]
    if ":" in name:
        return _load(name, EntryPoint(name, name, GROUP))
    installed = {one.name: one for one in entry_points(group=GROUP)}
    if name not in installed:
        raise ConfigError(
            f"quality.scorers: unknown scorer '{name}'{nearest(name, {*OURS, *installed})} Or write module:function."
        )
    return _load(name, installed[name])


def _load(name: str, where: EntryPoint) -> Scorer:
    try:
        with _project_on_path():
            found = where.load()
    except Exception as error:  # importing a module may raise anything
        raise ConfigError(f"quality.scorers: '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Scorer):
        raise ConfigError(f"quality.scorers: '{name}' is no scorer: put @scorer(\"NAME\", version=1) above the function")
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
