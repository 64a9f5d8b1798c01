"""Chooses the cells of a sample: first those that hold conversations, then others, so that every axis stays even. Pure.

A sample of N has the same number of cells for each of an axis's k values: N/k, rounded down or up. Cells that hold conversations
are kept as far as these shares allow, so that a changed spec only pays for what is new. If an axis gets one more value, every
other value keeps its new, smaller share: at least N·(1 - 1/k) - k cells stay. If a value is removed, the others keep all their
cells.

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
"""Maximum number of cells to check one by one if shares cannot be even."""

PROPOSALS = 200
"""Number of cells drawn at random for each missing one, if there are more than `ENUMERATED`."""


def choose_cells(
    labels: Sequence[Sequence[str]], count: int, seed: int, held: Mapping[Cell, int], earlier: Sequence[Sequence[Cell]]
) -> list[Cell]:
    """Choose `count` cells of axes with these `labels`, which are distinct and in an order that does not depend on the spec's.

    `held` is the number of accepted conversations that a cell holds. `earlier` are samples chosen before, newest first: their
    cells are taken before others, in their order. Without either, the sample is the beginning of a balanced walk, which a larger
    sample continues.
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
    # Held cells of an earlier sample are even already, or nearly; all held cells together may keep more conversations.
    # The beginning of an even walk is even too, which matters for a smaller sample.
    starts = [[cell for cell in sample if cell in held] for sample in (*known, *(one[:count] for one in known))]
    different = {frozenset(start): start for start in (by_worth, *reversed(starts))}
    ways = [_keep(start, by_worth, known[0], labels, count, held, rank, rank_of) for start in reversed(different.values())]
    _, best = max(enumerate(ways), key=lambda way: (way[1].worth, -way[0]))
    order = {cell: number for number, cell in enumerate(known[0])}
    _fill(best, known[0], labels, seed, rank, rank_of)
    return sorted(best.cells, key=lambda cell: (order.get(cell, len(order)), rank_of(cell)))


class _Shares:
    """The cells of a sample, with the number of cells for each value, and its quota."""

    def __init__(self, quotas: Sequence[Sequence[int]], held: Mapping[Cell, int]) -> None:
        self.quotas = quotas
        self.used = [[0] * len(axis) for axis in quotas]
        self.cells: set[Cell] = set()
        self.held = held

    @property
    def worth(self) -> int:
        """Number of conversations that the cells hold."""
        return sum(self.held.get(cell, 0) for cell in self.cells)

    def take(self, cell: Cell) -> None:
        self.cells.add(cell)
        for axis, value in enumerate(cell):
            self.used[axis][value] += 1

    def drop(self, cell: Cell) -> None:
        self.cells.remove(cell)
        for axis, value in enumerate(cell):
            self.used[axis][value] -= 1

    def over(self, axis: int, value: int) -> int:
        """Number of cells by which a value exceeds its quota; negative if it may have more."""
        return self.used[axis][value] - self.quotas[axis][value]

    def add(self, cells: Iterable[Cell]) -> list[Cell]:
        """Take the cells for which every value has room. Returns them."""
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
    """Drop the cells of `start` that exceed a value's quota, and add other held cells that fit."""
    counts = [_count(cells, labels) for cells in (start, newest, by_worth)]
    quotas = [_quotas(axis, count, [sums[index] for sums in counts], rank) for index, axis in enumerate(labels)]
    shares = _Shares(quotas, held)
    for cell in start:
        shares.take(cell)

    surpluses = [sum(max(0, shares.over(index, value)) for value in range(len(axis))) for index, axis in enumerate(labels)]
    left, surplus = sum(surpluses), max(surpluses)
    # the room of a value is counted in a few steps: otherwise keys would change, and be computed again, with every dropped cell
    steps = [1 + surplus // (2 * len(axis)) for axis in labels]

    def key(cell: Cell) -> tuple[bool, int, int, int, bytes]:
        """Order of dropping: first cells that reduce an excess, hold little, reduce several excesses, and spare values with
        room."""
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
            continue  # none of its values exceeds its quota any more
        if now > before:  # counts only fall, so keys only grow: another cell may come first now
            heapq.heappush(heap, (now, cell))
        else:
            left += now[2]  # minus the number of excesses that it reduces
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
    """Number of cells for each value. The remainder of the division goes to values that have the most cells already."""
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
    """Fill the sample: first with cells of the newest sample that fit, then with new ones, made from each axis's missing values
    in shuffled order, which fit the quotas exactly. If a new cell occurs twice or is taken, it exchanges a value with another
    cell that holds nothing. If that fails, cells that make the sample least uneven are taken."""
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
    """Exchange values until all cells differ and none is taken; the number of cells for each value stays. Returns the cells, and
    the number for which it failed."""
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
    """Take `lost` more cells, each time the one that makes the sample least uneven; of several, the one that holds the most."""

    def key(cell: Cell) -> tuple[int, int, int, bytes]:
        over = [shares.over(axis, value) + 1 for axis, value in enumerate(cell)]
        return sum(max(0, one) for one in over), -shares.held.get(cell, 0), sum(over), rank_of(cell)

    if lost and prod(sizes) > ENUMERATED:  # too many to list
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
