"""The labelled set: faulty and honest turns, written by several hands, put into clean conversations.

A file `tests/data/labelled/HAND/KIND.yaml` lists turns (or exchanges) that the filter `KIND` must find; `hard_negatives.yaml` lists turns
that look like a fault and are none, `clean.yaml` whole conversations without one. The filters were written with hands A, B, D, E,
F and G in view.
Hand C is held out: whoever works on a filter does not read it, so that its figures say what unseen wordings would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from convoforge.models import Conversation, Turn
from convoforge.planning.spec import load_spec
from convoforge.planning.templates import Library
from convoforge.scoring import ScoringContext
from convoforge.settings import ROOT

FOLDER = ROOT / "tests" / "data" / "labelled"
SEEN = ("A", "B", "D", "E", "F", "G")
"""The hands that authors of filters have read."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A conversation with the fault that it holds ("" for none), who wrote it, and what was put in."""

    kind: str
    hand: str
    text: str
    conversation: Conversation
    context: ScoringContext


def read_labelled(hands: Sequence[str] = SEEN, folder: Path = FOLDER) -> Sequence[Labelled]:
    """All conversations of some hands, by hand and kind."""
    return tuple(one for hand in hands for one in _read_hand(folder / hand))


def _read_hand(folder: Path) -> Iterator[Labelled]:
    clean = _load(folder / "clean.yaml")
    for path in sorted(folder.glob("*.yaml")):
        if path.stem == "clean":
            continue
        for number, item in enumerate(_load(path)):
            base = clean[number % len(clean)]
            kind = "" if path.stem == "hard_negatives" else path.stem
            whole = kind == "off_topic" and "turns" in item
            turns = item["turns"] if whole else _put_in(base["turns"], item)
            said = item["text"] if "text" in item else " / ".join(turn["text"] for turn in item["turns"])
            yield Labelled(kind, folder.name, said, _conversation(turns), _context({**base, **_given(item)}))
    for base in clean:
        yield Labelled("", folder.name, "", _conversation(base["turns"]), _context(base))


def _given(item: dict[str, Any]) -> dict[str, Any]:
    return {key: item[key] for key in ("topic", "template", "language") if key in item}


def _put_in(turns: Sequence[dict[str, str]], item: dict[str, Any]) -> list[dict[str, str]]:
    """A clean conversation with the item's turn, or turns, in the place of its own ones of the same roles."""
    new = item.get("turns") or [{"role": item["role"], "text": item["text"]}]
    at = item.get("at", "last" if item.get("kind") == "thanks_tail" else "middle")
    fits = [start for start in range(len(turns) - len(new) + 1) if turns[start]["role"] == new[0]["role"]]
    start = fits[0] if at == "first" else fits[-1] if at == "last" else fits[len(fits) // 2]
    return [*turns[:start], *new, *turns[start + len(new) :]]


def _conversation(turns: Sequence[dict[str, str]]) -> Conversation:
    return Conversation(tuple(Turn(turn["role"], turn["text"]) for turn in turns))  # type: ignore[arg-type]  # YAML's roles are text


def _context(given: dict[str, Any]) -> ScoringContext:
    names = ("template", "persona", "emotion", "topic", "tier")
    values = {name: str(given.get(name, "")) for name in names}
    return ScoringContext(
        "labelled",
        **values,
        language=given.get("language", "en"),
        brief=_brief(values["template"]),
        topics=_list_topics(values["topic"]),
    )


@cache
def _list_topics(topic: str) -> tuple[str, ...]:
    """The topics of the shipped spec that has this one."""
    specs = (load_spec(name, ROOT / "configs") for name in ("financial-advice", "customer-support"))
    return next((spec.axes.topic for spec in specs if topic in spec.axes.topic), ())


@cache
def _brief(template: str) -> str:
    library = Library.at(ROOT / "configs")
    personas = (library.persona(name).text for name in library.list_personas())
    return "\n".join([library.template(template).text, *personas]) if template else ""


def _load(path: Path) -> list[Any]:
    return list(yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 - both are safe
