"""Which cells a sample takes: those that hold conversations first, then the rest, so that every axis stays even. Pure.

A sample of N wants the same number of cells with each of an axis's k values: N/k, rounded down or up. Cells that hold something
stay as far as that share allows, so a spec may change and only what the change asks for is paid. One more value on an axis leaves
every other value its new, smaller share: at least N·(1 - 1/k) - k cells stay. One value less takes nothing from the others.

Nothing here depends on the order of an axis's values: a cell's rank is a hash of the seed and its labels.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice, product
from math import prod

from convoforge.planning.sampling import spread

Cell = tuple[int, ...]
"""An index on each axis."""

Rank = Callable[[Iterable[str]], bytes]

ENUMERATED = 2_000_000
"""Cells that may be looked at one by one where even shares cannot be had."""

PROPOSALS = 200
"""Cells that are drawn, of more than those, for each one that is missing."""


def choose_cells(
    labels: Sequence[Sequence[str]], count: int, seed: int, held: Mapping[Cell, int], earlier: Sequence[Sequence[Cell]]
) -> list[Cell]:
    """`count` cells of the axes that `labels` name, each value's labels distinct and in an order that does not depend on the spec's.

    `held` says how many conversations a cell holds that count. `earlier` are samples chosen before, the newest first: their cells
    are taken before others, in their order. Without either it is the beginning of a balanced walk, which a larger sample continues.
    """
    sizes = [len(axis) for axis in labels]
    known = [sample for sample in earlier if sample]
    if not known:
        known = [list(islice(spread(sizes, seed), count))]
        if not held:
            return list(known[0])

    def rank(names: Iterable[str]) -> bytes:
        return blake2b("\x1f".join([str(seed), *names]).encode(), digest_size=8).digest()

    @cache
    def rank_of(cell: Cell) -> bytes:
        return rank(axis[value] for axis, value in zip(labels, cell, strict=True))

    by_worth = sorted(held, key=lambda cell: (-held[cell], rank_of(cell)))
    # What was in a sample and holds something is even already, or nearly; all that is held together may have more of use.
    # Of an even walk its beginning is even, too, which matters where fewer are wanted.
    starts = [[cell for cell in sample if cell in held] for sample in (*known, *(one[:count] for one in known))]
    different = {frozenset(start): start for start in (by_worth, *reversed(starts))}
    ways = [_keep(start, by_worth, known[0], labels, count, held, rank, rank_of) for start in reversed(different.values())]
    _, best = max(enumerate(ways), key=lambda way: (way[1].worth, -way[0]))
    order = {cell: number for number, cell in enumerate(known[0])}
    _fill(best, known[0], labels, seed, rank, rank_of)
    return sorted(best.cells, key=lambda cell: (order.get(cell, len(order)), rank_of(cell)))


class _Shares:
    """Cells of a sample, with how many of each value there are and may be."""

    def __init__(self, quotas: Sequence[Sequence[int]], held: Mapping[Cell, int]) -> None:
        self.quotas = quotas
        self.used = [[0] * len(axis) for axis in quotas]
        self.cells: set[Cell] = set()
        self._held = held

    @property
    def worth(self) -> int:
        """Number of conversations that its cells hold."""
        return sum(self._held.get(cell, 0) for cell in self.cells)

    def take(self, cell: Cell) -> None:
        self.cells.add(cell)
        for axis, value in enumerate(cell):
            self.used[axis][value] += 1

    def drop(self, cell: Cell) -> None:
        self.cells.remove(cell)
        for axis, value in enumerate(cell):
            self.used[axis][value] -= 1

    def over(self, axis: int, value: int) -> int:
        """By how many a value has more than its share; negative: how many it may still have."""
        return self.used[axis][value] - self.quotas[axis][value]

    def add(self, cells: Iterable[Cell]) -> list[Cell]:
        """Take those for which every value has room. Returns them."""
        taken = []
        for cell in cells:
            if cell not in self.cells and all(self.over(axis, value) < 0 for axis, value in enumerate(cell)):
                self.take(cell)
                taken.append(cell)
        return taken


def _keep(
    start: Collection[Cell],
    by_worth: Sequence[Cell],
    newest: Sequence[Cell],
    labels: Sequence[Sequence[str]],
    count: int,
    held: Mapping[Cell, int],
    rank: Rank,
    rank_of: Callable[[Cell], bytes],
) -> _Shares:
    """`start` without what is beyond a value's share, and whatever else is held that fits beside it."""
    counts = [_count(cells, labels) for cells in (start, newest, by_worth)]
    quotas = [_quotas(axis, count, [sums[index] for sums in counts], rank) for index, axis in enumerate(labels)]
    shares = _Shares(quotas, held)
    for cell in start:
        shares.take(cell)

    surpluses = [sum(max(0, shares.over(index, value)) for value in range(len(axis))) for index, axis in enumerate(labels)]
    left, surplus = sum(surpluses), max(surpluses)
    # how much a value has left is counted in a few steps: a key that changed with every cell that is dropped would be made anew as often
    steps = [1 + surplus // (2 * len(axis)) for axis in labels]

    def key(cell: Cell) -> tuple[bool, int, int, int, bytes]:
        """What is dropped first: what relieves a value at all, holds little, relieves several, and is of values that have enough."""
        over = [shares.over(axis, value) for axis, value in enumerate(cell)]
        relieved = sum(one > 0 for one in over)
        return (
            relieved == 0,
            held.get(cell, 0),
            -relieved,
            sum(-one // step for one, step in zip(over, steps, strict=True) if one <= 0),
            rank_of(cell),
        )

    heap = [(key(cell), cell) for cell in start if any(shares.over(axis, value) > 0 for axis, value in enumerate(cell))]
    heapq.heapify(heap)
    while left:
        before, cell = heapq.heappop(heap)
        now = key(cell)
        if now[0]:
            continue  # none of its values has too many any more
        if now > before:  # counts only fall, so keys only grow: another one may be due before it
            heapq.heappush(heap, (now, cell))
        else:
            left += now[2]  # minus the number of values that it relieves
            shares.drop(cell)
    shares.add(by_worth)
    return shares


def _count(cells: Iterable[Cell], labels: Sequence[Sequence[str]]) -> list[list[int]]:
    sums = [[0] * len(axis) for axis in labels]
    for cell in cells:
        for axis, value in zip(sums, cell, strict=True):
            axis[value] += 1
    return sums


def _quotas(axis: Sequence[str], count: int, counts: Sequence[Sequence[int]], rank: Rank) -> list[int]:
    """Number of cells that each value gets. What a division leaves over goes to those that have more than the rest already."""
    share, more = divmod(count, len(axis))
    start, *others = counts
    order = sorted(
        range(len(axis)),
        key=lambda value: (min(0, share - start[value]), *(-sums[value] for sums in others), rank([axis[value]])),
    )
    quotas = [share] * len(axis)
    for value in order[:more]:
        quotas[value] += 1
    return quotas


def _fill(
    shares: _Shares,
    newest: Iterable[Cell],
    labels: Sequence[Sequence[str]],
    seed: int,
    rank: Rank,
    rank_of: Callable[[Cell], bytes],
) -> None:
    """Take cells for what the values are still to have: of the newest sample, as far as they fit; and each axis's missing values,
    shuffled, side by side, which is even as it stands. Where two are alike or one is taken, they exchange a value with another
    one that holds nothing. What that does not mend goes where it disturbs least."""
    kept = set(shares.cells)
    cells = shares.add(newest)
    columns = []
    for index, axis in enumerate(labels):
        lacking = [(value, n) for value in range(len(axis)) for n in range(-shares.over(index, value))]
        columns.append([value for value, n in sorted(lacking, key=lambda one: rank([str(index), axis[one[0]], str(one[1])]))])
    for cell in cells:
        shares.drop(cell)
    rng = random.Random(f"{seed} {len(kept)}")
    filling = list(zip(*columns, strict=True))
    mended, lost = _exchanged(filling, {*kept, *cells}, rng)
    mended, lost = _exchanged([*cells, *filling], kept, rng) if lost else ([*cells, *mended], 0)
    for cell in mended:
        shares.take(cell)
    _take_least_uneven(shares, lost, [len(axis) for axis in labels], rng, rank_of)


def _exchanged(given: Sequence[Cell], taken: Collection[Cell], rng: random.Random) -> tuple[list[Cell], int]:
    """The cells, all different and none of them taken, with as many of each value as before; and how many could not be had so."""
    cells, there = list(given), dict.fromkeys(taken, 1)
    for cell in cells:
        there[cell] = there.get(cell, 0) + 1
    twice = [index for index, cell in enumerate(cells) if there[cell] > 1]
    for _ in range(20 * len(cells) + 20_000):
        while twice and there[cells[twice[-1]]] == 1:
            twice.pop()
        if not twice:
            break
        one, other, axis = twice[-1], rng.randrange(len(cells)), rng.randrange(len(cells[0]))
        a, b = cells[one], cells[other]
        if a[axis] == b[axis]:
            continue
        new_a, new_b = (*a[:axis], b[axis], *a[axis + 1 :]), (*b[:axis], a[axis], *b[axis + 1 :])
        if there.get(new_a, 0) or new_a == new_b:
            continue
        for cell, more in ((a, -1), (b, -1), (new_a, 1), (new_b, 1)):
            there[cell] = there.get(cell, 0) + more
        cells[one], cells[other] = new_a, new_b
        if there[new_b] > 1:
            twice.insert(0, other)
    single: list[Cell] = []
    for cell in cells:
        if there[cell] > 1:
            there[cell] -= 1
        else:
            single.append(cell)
    return single, len(cells) - len(single)


def _take_least_uneven(
    shares: _Shares, lost: int, sizes: Sequence[int], rng: random.Random, rank_of: Callable[[Cell], bytes]
) -> None:
    """Take `lost` further cells, each that which makes the sample least uneven."""

    def key(cell: Cell) -> tuple[int, int, bytes]:
        over = [shares.over(axis, value) + 1 for axis, value in enumerate(cell)]
        return sum(max(0, one) for one in over), sum(over), rank_of(cell)

    if lost and prod(sizes) > ENUMERATED:  # of so many, few are taken
        for _ in range(lost):
            drawn = {tuple(rng.randrange(size) for size in sizes) for _ in range(PROPOSALS)}
            shares.take(min(drawn - shares.cells, key=key))
    elif lost:
        heap = [(key(cell), cell) for cell in product(*map(range, sizes)) if cell not in shares.cells]
        heapq.heapify(heap)
        while lost:
            before, cell = heapq.heappop(heap)
            if (now := key(cell)) > before:  # counts only rise, so keys only grow
                heapq.heappush(heap, (now, cell))
            else:
                shares.take(cell)
                lost -= 1
