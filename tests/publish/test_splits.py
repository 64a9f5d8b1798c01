"""Which group goes to which split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.errors import ConfigError
from convoforge.publish.splits import assign, by_hash, check_fractions

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}

groups = st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=40)
fractions = st.lists(st.integers(1, 20), min_size=1, max_size=4).map(
    lambda parts: {f"split_{n}": part / sum(parts) for n, part in enumerate(parts)}
)
seeds = st.integers(0, 2**32)


@given(groups, fractions, seeds)
def test_the_same_groups_in_any_order_give_the_same_plan(groups: list[str], fractions: dict[str, float], seed: int) -> None:
    assert assign(groups, fractions, seed=seed) == assign([*reversed(groups), *groups], fractions, seed=seed)


@given(groups, fractions, seeds)
def test_every_group_is_in_one_split_and_the_first_splits_are_filled(
    groups: list[str], fractions: dict[str, float], seed: int
) -> None:
    plan = assign(groups, fractions, seed=seed)
    assert set(plan.groups) == set(groups)
    assert [split for split in fractions if split in plan.groups.values()] == [*fractions][: len(groups)]


@given(groups, groups, fractions, seeds)
def test_a_group_moves_only_to_fill_an_empty_split(
    some: list[str], others: list[str], fractions: dict[str, float], seed: int
) -> None:
    before, after = (assign(groups, fractions, seed=seed) for groups in (some, some + others))
    for group in some:
        if group not in before.moved and group not in after.moved:
            assert before.groups[group] == after.groups[group] == by_hash(group, fractions, seed=seed)


@given(groups, fractions, seeds)
def test_nothing_moves_and_nothing_is_said_when_chance_fills_every_split(
    groups: list[str], fractions: dict[str, float], seed: int
) -> None:
    plan = assign(groups, fractions, seed=seed)
    filled = {by_hash(group, fractions, seed=seed) for group in groups} == set(fractions)
    assert bool(plan.moved or plan.notes) == (not filled and bool(groups))


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_fractions_are_approached_with_many_groups(seed: int) -> None:
    plan = assign((f"group {n}" for n in range(2000)), THREE, seed=seed)
    placed = [*plan.groups.values()]
    assert all(abs(placed.count(split) / 2000 - fraction) < 0.05 for split, fraction in THREE.items())


def test_no_release_moves_a_group_to_another_split() -> None:
    placed = [by_hash(f"Persona {n} | Topic", THREE, seed=7) for n in range(8)]
    assert placed == ["validation", "train", "train", "test", "train", "train", "train", "train"]


def test_another_seed_splits_otherwise() -> None:
    names = [f"group {n}" for n in range(100)]
    assert assign(names, THREE, seed=1).groups != assign(names, THREE, seed=2).groups


def test_an_empty_split_is_given_one_whole_group_and_a_note_says_which() -> None:
    plan = assign(["a", "b", "c"], {"train": 0.999999, "validation": 0.000001}, seed=0)
    (moved,) = plan.moved
    assert [*plan.groups.values()].count("train") == 2
    assert plan.groups[moved] == "validation"
    assert plan.notes == (f"split 'validation' would be empty, so the group '{moved}' was given to it",)


def test_a_single_group_trains_and_the_other_splits_are_left_out_with_a_note() -> None:
    for seed in range(20):
        plan = assign(["only"], THREE, seed=seed)
        assert plan.groups == {"only": "train"}
        assert [note.split(":")[0] for note in plan.notes][-2:] == ["split 'validation' is left out", "split 'test' is left out"]


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.9, "hold-out": 0.1}, "the split name 'hold-out'"),
        ({"train": 1.0, "validation": 0.0}, "'validation' has the fraction 0.0"),
        ({"train": 1.5, "validation": -0.5}, "'validation' has the fraction -0.5"),
        ({"train": 0.9, "validation": 0.2}, "add up to 1.1"),
        ({}, "add up to 0"),
    ],
)
def test_fractions_that_cannot_work_are_refused(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_fractions(fractions)
