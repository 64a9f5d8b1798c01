"""The axes of a plan, sorted, so that the order in a spec means nothing; and which of their cells a sample takes, given its past. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import orjson

from convoforge.planning.cell_choice import Cell, choose_cells
from convoforge.planning.sampling import spread

Values = tuple[str, str, str, str, str]
"""What a cell is: persona, emotion, topic, tier, template."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Four sorted axes. The last one is (tier, template): a tier with several templates is several cells."""

    persona: tuple[str, ...]
    emotion: tuple[str, ...]
    topic: tuple[str, ...]
    last: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, persona: Sequence[str], emotion: Sequence[str], topic: Sequence[str], last: Sequence[tuple[str, str]]) -> Grid:
        """The grid of axes in any order."""
        return cls(tuple(sorted(persona)), tuple(sorted(emotion)), tuple(sorted(topic)), tuple(sorted(last)))

    @classmethod
    def parse(cls, text: str) -> Grid:
        """The grid that `text` was written from."""
        raw = orjson.loads(text)
        persona, emotion, topic = (tuple(raw[name]) for name in ("persona", "emotion", "topic"))
        return cls(persona, emotion, topic, tuple((tier, template) for tier, template in raw["last"]))

    @property
    def text(self) -> str:
        """As the ledger keeps it."""
        return orjson.dumps({"persona": self.persona, "emotion": self.emotion, "topic": self.topic, "last": self.last}).decode()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Number of values of each axis."""
        return len(self.persona), len(self.emotion), len(self.topic), len(self.last)

    def values(self, cell: Cell) -> Values:
        """A cell by name."""
        persona, emotion, topic, last = cell
        return self.persona[persona], self.emotion[emotion], self.topic[topic], *self.last[last]

    def number(self, cell: Cell) -> int:
        """A cell as one number."""
        number = 0
        for index, size in zip(cell, self.sizes, strict=True):
            number = number * size + index
        return number

    def cell(self, number: int) -> Cell:
        """The cell of a number."""
        indexes = []
        for size in reversed(self.sizes):
            number, index = divmod(number, size)
            indexes.append(index)
        return tuple(reversed(indexes))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plan as it was kept. `cells` are numbers in its grid, in the plan's order; None stands for all of them. `id` is the ledger's."""

    id: int
    signature: str
    grid: Grid
    cells: tuple[int, ...] | None

    @property
    def names(self) -> list[Values]:
        """Its cells by name, where it is a sample; nothing where it has all."""
        return [self.grid.values(self.grid.cell(number)) for number in self.cells or ()]

    def having(self, some: Iterable[Values]) -> set[Values]:
        """Those of `some` cells that are the plan's."""
        if self.cells is not None:
            return set(some) & set(self.names)
        axes = [set(self.grid.persona), set(self.grid.emotion), set(self.grid.topic)]
        last = set(self.grid.last)
        return {one for one in some if one[3:] in last and all(value in axis for value, axis in zip(one, axes, strict=False))}


@dataclass(frozen=True, slots=True)
class Past:
    """What a sample goes by: the plan chosen last, the last one of just this signature, and how many accepted conversations each cell
    holds."""

    newest: Chosen | None = None
    same: Chosen | None = None
    held: Mapping[Values, int] = field(default_factory=dict)


def sign(grid: Grid, sample: int | None, seed: int) -> str:
    """What decides the cells of a plan, in 64 hex digits: the same where the same plan is meant."""
    return hashlib.sha256(f"{grid.text}\x1f{sample}\x1f{seed}".encode()).hexdigest()


def choose(grid: Grid, sample: int | None, seed: int, past: Past) -> list[Cell]:
    """The cells of a plan. The plan that was chosen last is kept as it is, if it is of the same signature. Of another one stays what
    holds conversations, as `choose_cells` says."""
    if sample is None or sample >= prod(grid.sizes):
        return list(spread(grid.sizes, seed))
    newest, same = past.newest, past.same
    if newest is not None and newest.cells is not None and newest.signature == sign(grid, sample, seed):
        return [grid.cell(number) for number in newest.cells]
    indexes = [{name: index for index, name in enumerate(axis)} for axis in (grid.persona, grid.emotion, grid.topic)]
    last = {pair: index for index, pair in enumerate(grid.last)}

    def find(values: Values) -> Cell | None:
        cell = [*(axis.get(value) for axis, value in zip(indexes, values, strict=False)), last.get(values[3:])]
        return None if None in cell else tuple(index for index in cell if index is not None)

    held = {cell: count for values, count in past.held.items() if count and (cell := find(values)) is not None}
    earlier = [[cell for values in one.names if (cell := find(values)) is not None] for one in (newest, same) if one is not None]
    labels = [grid.persona, grid.emotion, grid.topic, ["\x1e".join(pair) for pair in grid.last]]
    return choose_cells(labels, sample, seed, held, earlier)
