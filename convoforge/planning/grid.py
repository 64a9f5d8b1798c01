"""The axes of a plan, sorted, so that the order in a spec does not matter; and the choice of a sample's cells. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import orjson

from convoforge.planning.cell_choice import Cell, choose_cells
from convoforge.planning.sampling import spread

Values = tuple[str, str, str, str, str]
"""The values of a cell: persona, emotion, topic, tier, template."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Four sorted axes. The last one is (tier, template): a tier with several templates gives several cells."""

    persona: tuple[str, ...]
    emotion: tuple[str, ...]
    topic: tuple[str, ...]
    last: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, persona: Sequence[str], emotion: Sequence[str], topic: Sequence[str], last: Sequence[tuple[str, str]]) -> Grid:
        """Make a grid from axes in any order."""
        return cls(tuple(sorted(persona)), tuple(sorted(emotion)), tuple(sorted(topic)), tuple(sorted(last)))

    @classmethod
    def parse(cls, text: str) -> Grid:
        raw = orjson.loads(text)
        persona, emotion, topic = (tuple(raw[name]) for name in ("persona", "emotion", "topic"))
        return cls(persona, emotion, topic, tuple((tier, template) for tier, template in raw["last"]))

    @property
    def text(self) -> str:
        """The grid as JSON, as the ledger stores it."""
        return orjson.dumps({"persona": self.persona, "emotion": self.emotion, "topic": self.topic, "last": self.last}).decode()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return len(self.persona), len(self.emotion), len(self.topic), len(self.last)

    def values(self, cell: Cell) -> Values:
        persona, emotion, topic, last = cell
        return self.persona[persona], self.emotion[emotion], self.topic[topic], *self.last[last]

    def number(self, cell: Cell) -> int:
        number = 0
        for index, size in zip(cell, self.sizes, strict=True):
            number = number * size + index
        return number

    def cell(self, number: int) -> Cell:
        indexes = []
        for size in reversed(self.sizes):
            number, index = divmod(number, size)
            indexes.append(index)
        return tuple(reversed(indexes))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plan as the ledger stores it. `cells` are numbers in its grid, in the plan's order; None means all. `id` is the
    ledger's."""

    id: int
    signature: str
    grid: Grid
    cells: tuple[int, ...] | None

    @property
    def names(self) -> list[Values]:
        """The values of its cells if it is a sample; empty if it has all cells."""
        return [self.grid.values(self.grid.cell(number)) for number in self.cells or ()]

    def having(self, some: Iterable[Values]) -> set[Values]:
        """Those of `some` cells that are in the plan."""
        if self.cells is not None:
            return set(some) & set(self.names)
        axes = [set(self.grid.persona), set(self.grid.emotion), set(self.grid.topic)]
        last = set(self.grid.last)
        return {one for one in some if one[3:] in last and all(value in axis for value, axis in zip(one, axes, strict=False))}


@dataclass(frozen=True, slots=True)
class Past:
    """The past that a sample depends on: the newest plan, the newest with the same signature, and the number of accepted
    conversations in each cell."""

    newest: Chosen | None = None
    same: Chosen | None = None
    held: Mapping[Values, int] = field(default_factory=dict)


def sign(grid: Grid, sample: int | None, seed: int) -> str:
    """The signature of a plan: 64 hex digits, equal for plans with the same grid, sample and seed."""
    return hashlib.sha256(f"{grid.text}\x1f{sample}\x1f{seed}".encode()).hexdigest()


def choose(grid: Grid, sample: int | None, seed: int, past: Past) -> list[Cell]:
    """Choose the cells of a plan. If the newest plan has the same signature, its cells are kept. Otherwise cells that hold
    conversations are kept as far as possible, see `choose_cells`."""
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
