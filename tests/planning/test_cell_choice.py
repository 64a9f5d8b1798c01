"""A sample that survives a change of its axes: what holds conversations stays, within an even share of each value."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil, floor, prod

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from convoforge.planning.cell_choice import Cell, choose_cells

Named = tuple[str, ...]

shapes = st.lists(st.integers(1, 9), min_size=2, max_size=4).filter(lambda some: 4 <= prod(some) <= 400)
seeds = st.integers(0, 2**63 - 1)


def axes_of(shape: list[int]) -> list[list[str]]:
    return [[f"{chr(97 + place)}{n}" for n in range(size)] for place, size in enumerate(shape)]


class World:
    """A dataset: what is held of it, and the sample it was last built with, both by name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.held: dict[Named, int] = {}
        self.plans: list[list[Named]] = []

    def sample(self, axes: list[list[str]], count: int) -> list[Named]:
        ordered = [sorted(axis) for axis in axes]
        places = [{name: place for place, name in enumerate(axis)} for axis in ordered]

        def known(names: list[Named]) -> list[Cell]:
            return [
                tuple(place[name] for place, name in zip(places, one, strict=True))
                for one in names
                if all(name in place for place, name in zip(places, one, strict=True))
            ]

        held = {cell: self.held[name] for name in self.held for cell in known([name])}
        cells = choose_cells(ordered, count, self.seed, held, [known(plan) for plan in self.plans[::-1]])
        return [tuple(axis[value] for axis, value in zip(ordered, cell, strict=True)) for cell in cells]

    def build(self, axes: list[list[str]], count: int, share: float = 1.0) -> list[Named]:
        """Plan, and generate so much of what is missing."""
        plan = self.sample(axes, count)
        self.plans.append(plan)
        rng = random.Random(self.seed)
        for cell in plan:
            if rng.random() < share:
                self.held.setdefault(cell, 1)
        return plan


def uneven(plan: list[Named], axes: list[list[str]]) -> list[int]:
    """For each axis, by how much a value is further from an even share than one."""
    found = []
    for place, axis in enumerate(axes):
        counts = Counter(cell[place] for cell in plan)
        low, high = floor(len(plan) / len(axis)), ceil(len(plan) / len(axis))
        found.append(max(max(counts[value] - high, low - counts[value]) for value in axis))
    return found


@st.composite
def samples(draw: st.DrawFn) -> tuple[list[list[str]], int]:
    """Axes, and a number of cells that leaves some out."""
    shape = draw(shapes)
    return axes_of(shape), draw(st.integers(1, prod(shape)))


@settings(deadline=None)
@given(samples(), seeds, st.integers(0, 2**32))
def test_a_sample_is_even_and_the_same_each_time_whatever_the_order_of_the_values(
    given_: tuple[list[list[str]], int], seed: int, order: int
) -> None:
    axes, count = given_
    plan = World(seed).sample(axes, count)
    assert len(set(plan)) == len(plan) == count
    assert max(uneven(plan, axes)) <= 0
    turned = [random.Random(order).sample(axis, len(axis)) for axis in axes]
    assert World(seed).sample(turned, count) == plan
    assert World(seed).sample(axes, count - 1) == plan[:-1]


@settings(deadline=None)
@given(samples(), seeds, st.data())
@example(([[f"p{n}" for n in range(14)], [f"e{n}" for n in range(12)], ["x", "y", "z"]], 300), 7, None)
def test_one_more_value_keeps_all_but_its_own_share(given_: tuple[list[list[str]], int], seed: int, data: st.DataObject) -> None:
    axes, count = given_
    world = World(seed)
    before = world.build(axes, count)
    place = data.draw(st.integers(0, len(axes) - 1)) if data else 0
    # at the beginning, at the end or between: its name says where it is sorted
    axes[place].append(data.draw(st.sampled_from(["A", "c5x", "zz"])) if data else "zz")
    after = world.sample(axes, count)
    k = len(axes[place])
    kept = len(set(before) & set(after))
    assert len(set(after)) == count
    assert kept >= count * (1 - 1 / k) - k
    assert kept >= count - ceil(count / k), "no more is dropped than the new value takes"
    if count <= prod(map(len, axes)) / 4:
        assert max(uneven(after, axes)) <= 1


@settings(deadline=None)
@given(samples(), seeds, st.data())
def test_one_value_less_keeps_all_others(given_: tuple[list[list[str]], int], seed: int, data: st.DataObject) -> None:
    axes, count = given_
    place = data.draw(st.integers(0, len(axes) - 1))
    assume(len(axes[place]) > 1)
    world = World(seed)
    before = world.build(axes, count)
    gone = data.draw(st.sampled_from(axes[place]))
    axes[place].remove(gone)
    assume(count <= prod(map(len, axes)))
    after = world.sample(axes, count)
    assert len(set(after)) == count
    assert {cell for cell in before if cell[place] != gone} <= set(after)
    if count <= prod(map(len, axes)) / 4:
        assert max(uneven(after, axes)) <= 1


@settings(deadline=None, max_examples=40)
@given(samples(), seeds, st.sampled_from([0, 0.3, 0.9, 1]))
@example((axes_of([5, 6, 8]), 72), 0, 0.9)  # new cells cannot be had for all that is missing
def test_a_larger_sample_keeps_the_smaller_and_a_smaller_one_what_is_held(
    given_: tuple[list[list[str]], int], seed: int, share: float
) -> None:
    axes, count = given_
    world = World(seed)
    plan = world.build(axes, count, share)
    larger = min(prod(map(len, axes)), count + count // 3)
    assert set(plan if share == 1 else world.held) <= set(world.sample(axes, larger))
    smaller = world.sample(axes, max(1, count // 2))
    crowded = len(smaller) > prod(map(len, axes)) / 4  # then there may be no new cells that make it quite even
    assert set(smaller) <= set(plan) or max(uneven(smaller, axes)) <= crowded


@settings(deadline=None, max_examples=20)
@given(seeds, st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 50)), min_size=1, max_size=12), st.data())
def test_a_sequence_of_changes_stays_even_and_never_pays_more_than_each_change_asks_for(
    seed: int, changes: list[tuple[int, bool, int]], data: st.DataObject
) -> None:
    axes = axes_of([6, 5, 7, 3])
    count = data.draw(st.integers(20, 100))
    world = World(seed)
    world.build(axes, count)
    for number, (place, more, which) in enumerate(changes):
        if more:
            axes[place].insert(which % (len(axes[place]) + 1), f"new{number}")
        elif len(axes[place]) > 2 and prod(map(len, axes)) >= 6 * count:  # what is nearly full cannot always be even
            axes[place].pop(which % len(axes[place]))
        before, held = world.plans[-1], set(world.held)
        still = [cell for cell in before if all(name in axis for name, axis in zip(cell, axes, strict=True))]
        after = world.build(axes, count)
        k = len(axes[place])
        assert len(set(after)) == count
        assert max(uneven(after, axes)) <= 1  # and nearly always 0: what is held may leave no even way, which `plan` tells
        # what an earlier sample left behind may take the place of what this one holds, but never costs anything
        assert len(held & set(after)) >= min(len(still), count * (1 - 1 / k) - k)


def test_going_back_pays_nothing() -> None:
    world = World(7)
    axes = axes_of([14, 12, 18, 3])
    first = world.build(axes, 300)
    world.build([[*axes[0], "one more"], *axes[1:]], 300)
    assert all(cell in world.held for cell in world.sample(axes, 300))
    world.build([axes[0][1:], *axes[1:]], 300)
    assert set(world.sample(axes, 300)) == set(first)


def test_where_even_shares_cannot_be_had_what_is_held_stays_all_the_same() -> None:
    world = World(7)
    world.held = {(a, b): 1 for a in ("a0", "a1") for b in ("b0", "b1")}
    axes = axes_of([3, 3])
    plan = world.sample(axes, 6)
    assert len(set(plan)) == 6
    assert set(world.held) <= set(plan)
