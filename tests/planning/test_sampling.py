"""The order of the cells: each once, every beginning balanced, by seed, and no dearer than what is taken of it."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import combinations, islice, pairwise
from math import prod

from hypothesis import example, given, settings
from hypothesis import strategies as st

from convoforge.planning.sampling import spread, walk

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5).filter(lambda some: prod(some) <= 2_000)
seeds = st.integers(0, 2**63 - 1)


@settings(deadline=None)
@given(sizes, seeds)
@example([1], 0)
@example([4, 4, 4], 7)
@example([14, 12, 9], 7)
def test_every_cell_comes_once(sizes: list[int], seed: int) -> None:
    cells = list(spread(sizes, seed))
    assert len(cells) == len(set(cells)) == prod(sizes)
    assert all(0 <= value < size for cell in cells for value, size in zip(cell, sizes, strict=True))


@settings(deadline=None)
@given(sizes, seeds)
@example([4, 4, 4], 7)
@example([6, 4, 9], 7)
def test_every_beginning_has_used_the_values_of_an_axis_equally_often(sizes: list[int], seed: int) -> None:
    used = [[0] * size for size in sizes]
    for cell in spread(sizes, seed):
        for axis, value in zip(used, cell, strict=True):
            axis[value] += 1
        assert all(max(axis) - min(axis) <= 1 for axis in used)


@settings(deadline=None)
@given(sizes, seeds, st.integers(0, 300), st.integers(0, 300))
def test_a_larger_sample_keeps_the_smaller(sizes: list[int], seed: int, few: int, more: int) -> None:
    assert list(islice(spread(sizes, seed), few + more))[:few] == list(islice(spread(sizes, seed), few))


def test_the_seed_decides_the_order() -> None:
    orders = {tuple(spread([5, 4, 3], seed)) for seed in range(50)}
    assert len(orders) == 50


def test_the_order_is_the_same_in_every_release() -> None:
    first = [(0, 1, 3), (2, 0, 1), (1, 1, 2), (0, 0, 0), (2, 1, 3), (1, 0, 1), (0, 1, 0), (2, 0, 2)]
    assert list(islice(spread([3, 2, 4], 7), 8)) == first


def test_a_sample_meets_the_pairs_of_values_and_not_always_the_same_ones() -> None:
    for shape, sample in (([14, 12, 18, 3], 300), ([5, 4, 6, 3], 60), ([12, 12, 12], 144), ([6, 6, 6, 6], 72)):
        cells = list(islice(spread(shape, 7), sample))
        for one, other in combinations(range(len(shape)), 2):
            pairs = Counter((cell[one], cell[other]) for cell in cells)
            # At random, 1 - exp(-sample / pairs) of them are met.
            possible = shape[one] * shape[other]
            assert len(pairs) >= 0.9 * possible * (1 - 2.718 ** (-sample / possible))


def test_a_sample_of_a_million_cells_costs_what_the_sample_costs() -> None:
    tracemalloc.start()
    assert len(list(islice(spread([100, 100, 100, 1_000], 7), 1_000))) == 1_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@settings(deadline=None)
@given(sizes)
def test_a_walk_meets_every_tuple_once_and_then_goes_on(sizes: list[int]) -> None:
    steps = [tuple(walk(sizes, step)) for step in range(prod(sizes))]
    assert len(set(steps)) == prod(sizes)
    assert all(0 <= value < size for value, size in zip(walk(sizes, 10**9), sizes, strict=True))


@settings(deadline=None)
@given(st.lists(st.integers(3, 15), min_size=1, max_size=5))
def test_neighbours_of_a_walk_differ_in_every_place_for_a_long_while(sizes: list[int]) -> None:
    for before, after in pairwise(walk(sizes, step) for step in range(min(sizes))):
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_walk_through_nothing_stands_still() -> None:
    assert walk([], 5) == []
