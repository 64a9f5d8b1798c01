"""Sentence patterns, and lists of them.

In a pattern `[once|twice]` is one of its alternatives (they nest, and one may be empty) and `{month}` is a fact of the conversation.
A list of patterns is a text whose items start with `- `; an item may run over several lines. An item of a list of pairs holds
what one says and what the other answers, parted by ` => `.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

ITEM = re.compile(r"^\s*- ", re.MULTILINE)
TOKEN = re.compile(r"[\[\]|]|\{\w+\}|[^\[\]|{]+")


class Fact(NamedTuple):
    """A gap in a pattern, filled with the fact of this name."""

    name: str


class Choice(NamedTuple):
    """Alternatives of which one is said; plain text where nothing in it varies."""

    options: tuple[str | Pattern, ...]


Pattern = tuple["str | Fact | Choice", ...]
Pair = tuple[Pattern, Pattern]


def pattern(text: str) -> Pattern:
    """A pattern, ready to be said. Raises ValueError where a bracket has no partner."""
    stack: list[list[list[str | Fact | Choice]]] = [[[]]]
    for token in TOKEN.findall(" ".join(text.split())):
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]" and len(stack) > 1:
            options, before = stack.pop(), stack[-1][-1]
            last = before[-1] if before else ""
            if (
                [] in options and isinstance(last, str) and last.endswith(" ")
            ):  # the blank goes with the words that may be missing
                before[-1] = last[:-1]
                options = [[" ", *option] if option else option for option in options]
            before.append(Choice(tuple(_plain(option) for option in options)))
        elif token in "|]":
            raise ValueError(f"'{token}' outside of brackets in: {text}")
        else:
            stack[-1][-1].append(Fact(token[1:-1]) if token[0] == "{" else token)
    if len(stack) > 1:
        raise ValueError(f"a '[' without its ']' in: {text}")
    return tuple(stack[0][0])


def patterns(text: str) -> tuple[Pattern, ...]:
    """The items of a list, in order."""
    return tuple(pattern(item) for item in ITEM.split(text)[1:])


def pairs(text: str) -> tuple[Pair, ...]:
    """The items of a list of pairs, in order. Raises ValueError where ` => ` is missing."""
    items = (item.split("=>") for item in ITEM.split(text)[1:])
    return tuple((pattern(said), pattern(answer)) for said, answer in items)


def _plain(words: list[str | Fact | Choice]) -> str | Pattern:
    text = [part for part in words if isinstance(part, str)]
    return "".join(text) if len(text) == len(words) else tuple(words)


def say(words: Pattern, draw: Callable[[], float], facts: Mapping[str, str]) -> str:
    """The pattern as text. `draw` gives a number in [0, 1) for each choice."""
    out: list[str] = []
    _say(words, draw, facts, out)
    return "".join(out)


def _say(words: Pattern, draw: Callable[[], float], facts: Mapping[str, str], out: list[str]) -> None:
    for part in words:
        if type(part) is str:
            out.append(part)
        elif type(part) is Choice:
            options = part[0]
            option = options[int(draw() * len(options))]
            if type(option) is str:
                out.append(option)
            else:
                _say(option, draw, facts, out)  # type: ignore[arg-type]
        else:
            out.append(facts[part[0]])  # type: ignore[index]


def names(words: str | Pattern) -> set[str]:
    """The facts a pattern asks for."""
    found: set[str] = set()
    for part in words:
        if isinstance(part, Fact):
            found.add(part.name)
        elif isinstance(part, Choice):
            found.update(*(names(option) for option in part.options))
    return found
