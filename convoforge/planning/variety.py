"""Which variation lines the first draw of a new cell gets: of those that its template has used least, those that its neighbors have,
the cells that share a persona, emotion, topic or tier with it. So no line is used much more often than another wherever one looks. Pure.

A hash of the cell alone, which is what is left beyond `MAX_EVEN` cells, uses some lines of a list three times as often as others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import chain

from convoforge.planning.grid import Values
from convoforge.planning.sampling import digest

MAX_EVEN = 50_000
"""Maximum number of a dataset's cells whose lines are chosen so: a second of work. Among more, chance is even enough."""

FEW = 8
"""Number of a template's cells up to which each has its own positions: so few cannot be even, and keep the prompts they always had."""


def find_start(persona: str, emotion: str, topic: str, tier: str, name: str) -> int:
    """The position in the list `name`, of whatever size, that a cell has by itself."""
    return digest(f"{persona}\x1f{emotion}\x1f{topic}\x1f{tier}\x1f{name}")


def pick_lines(
    cells: Collection[Values], sizes: Mapping[str, Mapping[str, int]], taken: Collection[tuple[Values, str]]
) -> Iterator[str]:
    """Yield the lines of each cell, by their positions in the lists: ``3 0 7``. `sizes` are the sizes of each template's lists by name,
    `taken` are the cells that have lines already. Of lines that were used equally often it is the first from a cell's own on."""
    numbers = Counter(values[-1] for values in chain(cells, (values for values, _ in taken)))
    used: dict[tuple[str, int, int, str], list[int]] = {}

    def find_counts(values: Values, at: int, size: int) -> list[list[int]]:
        """How often each line of a list is used by the cells of this template that share a value, for each of the values."""
        return [used.setdefault((values[-1], at, axis, value), [0] * size) for axis, value in enumerate(values)]

    for values, lines in taken:
        for at, (size, line) in enumerate(zip(sizes.get(values[-1], {}).values(), lines.split(), strict=False)):
            for counts in find_counts(values, at, size):
                counts[int(line) % size] += 1
    for values in cells:
        chosen = []
        for at, (name, size) in enumerate(sizes[values[-1]].items()):
            *shared, whole = find_counts(values, at, size)
            totals = [*zip(whole, map(sum, zip(*shared, strict=True)), strict=True)]
            first, least = find_start(*values[:4], name) % size, min(totals)
            even = (line for line in (*range(first, size), *range(first)) if totals[line] == least)
            chosen.append(first if numbers[values[-1]] <= FEW else next(even))
            for counts in (*shared, whole):
                counts[chosen[-1]] += 1
        yield " ".join(map(str, chosen))
