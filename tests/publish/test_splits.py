"""Which group goes to which split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.errors import ConfigError
from convoforge.publish.splits import SLACK, Outline, assign, check_fractions, find_torn, join_alike, outline

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}

members = st.lists(
    st.tuples(st.sampled_from("abcdefghijklmnop"), st.tuples(st.sampled_from("xyz"), st.sampled_from("123456"))), max_size=60
)
"""Conversations: the group of each, and its values of two axes."""

fractions = st.lists(st.integers(1, 20), min_size=1, max_size=4).map(
    lambda parts: {f"split_{n}": part / sum(parts) for n, part in enumerate(parts)}
)
seeds = st.integers(0, 2**32)
Members = list[tuple[str, tuple[str, str]]]


def share_of(split: str, plan: Mapping[str, str], groups: Outline) -> float:
    return sum(groups[group][0] for group in groups if plan[group] == split) / sum(rows for rows, _ in groups.values())


def values_of(split: str | None, plan: Mapping[str, str], some: Members) -> set[tuple[int, str]]:
    return {value for group, values in some if split in (None, plan[group]) for value in enumerate(values)}


@given(members, fractions, seeds, st.randoms())
def test_the_same_conversations_in_any_order_give_the_same_plan(
    some: Members, fractions: dict[str, float], seed: int, random: Random
) -> None:
    mixed = random.sample(some, len(some))
    assert assign(outline(some), fractions, seed=seed, placed={}) == assign(outline(mixed), fractions, seed=seed, placed={})


@given(members, members, members, fractions, seeds)
def test_no_group_ever_moves_whatever_comes_and_goes(
    first: Members, second: Members, third: Members, fractions: dict[str, float], seed: int
) -> None:
    placed: dict[str, str] = {}
    for some in (first, second, third, [*first, *second]):
        plan = assign(outline(some), fractions, seed=seed, placed=placed)
        assert plan.groups.keys() == {group for group, _ in some}
        assert placed == {**placed, **{group: split for group, split in plan.groups.items() if group in placed}}
        placed |= plan.groups


@given(members, members, fractions, seeds)
def test_a_split_misses_its_share_by_half_a_group_or_has_taken_all_it_could(
    first: Members, second: Members, fractions: dict[str, float], seed: int
) -> None:
    before = assign(outline(first), fractions, seed=seed, placed={}).groups
    groups = outline(second)
    plan = assign(groups, fractions, seed=seed, placed=before).groups
    total, largest = sum(rows for rows, _ in groups.values()), max(fractions, key=fractions.__getitem__)
    for split in fractions.keys() - {largest} if groups else ():
        taken = [groups[group][0] for group, owner in plan.items() if owner == split]
        new = [groups[group][0] for group, owner in plan.items() if owner == split and group not in before]
        left = [groups[group][0] for group, owner in plan.items() if owner == largest and group not in before]
        over = sum(taken) - fractions[split] * total
        assert over <= max(max(new, default=0) / 2, SLACK * total) + 1e-9 or not new or len(taken) == 1
        assert (
            over >= -min(left, default=total) / 2 - 1e-9
            or len([*plan.values()]) <= len(fractions) + len(before)
            or len(left) == 1
        )


@given(members, fractions, seeds)
def test_the_largest_split_is_filled_first_then_the_others_in_their_order(
    some: Members, fractions: dict[str, float], seed: int
) -> None:
    groups = outline(some)
    plan = assign(groups, fractions, seed=seed, placed={})
    order = dict.fromkeys((max(fractions, key=fractions.__getitem__), *fractions))
    assert set(plan.groups.values()) == set([*order][: len(groups)])
    assert len(plan.notes) == (max(len(order) - len(groups), 0) if groups else 0)


@given(members, seeds)
def test_what_two_groups_have_stays_in_the_largest_split(some: Members, seed: int) -> None:
    plan = assign(outline(some), {"train": 0.9, "validation": 0.1}, seed=seed, placed={}).groups
    if [*plan.values()].count("validation") > 1:  # one is needed so that the split is not empty
        groups_with = Counter(value for _, value in {(group, value) for group, values in some for value in enumerate(values)})
        assert {value for value, number in groups_with.items() if number > 1} <= values_of("train", plan, some)


@pytest.mark.parametrize("seed", range(5))
def test_validation_has_its_share_and_every_value_and_keeps_both_as_the_dataset_grows(seed: int) -> None:
    """As large as a dataset of 14 personas and 18 topics in which a hash gave validation 6.8 %, with 11 of the personas."""
    size = {pair: Random(str(pair)).randint(20, 52) for pair in product(range(15), range(18))}
    placed: dict[str, str] = {}
    for personas in (4, 14, 15):
        some = [(f"{p} | {t}", (f"p{p}", f"t{t}")) for (p, t), rows in size.items() if p < personas for _ in range(rows)]
        placed |= (plan := assign(outline(some), THREE, seed=seed, placed=placed).groups)
        for split, fraction in THREE.items():
            assert abs(share_of(split, plan, outline(some)) - fraction) < 0.01
            # 7 of 72 groups cannot hold 18 topics
            assert values_of(split, plan, some) == values_of(None, plan, some) or personas == 4


def test_no_release_places_a_group_elsewhere() -> None:
    placed = assign(outline((f"Persona {n}", ("p", "t")) for n in range(10)), THREE, seed=7, placed={}).groups
    assert {group: split for group, split in placed.items() if split != "train"} == {
        "Persona 5": "validation",
        "Persona 0": "test",
    }


def test_another_seed_splits_otherwise() -> None:
    groups = outline((f"group {n}", ("p", "t")) for n in range(100))
    assert assign(groups, THREE, seed=1, placed={}).groups != assign(groups, THREE, seed=2, placed={}).groups


def test_a_split_that_no_group_is_free_for_is_left_out_and_a_note_says_so() -> None:
    plan = assign(outline([("only", ("p", "t"))]), THREE, seed=7, placed={})
    assert plan.groups == {"only": "train"}
    assert plan.notes == (
        "split 'validation' is left out: of 1 group, none is free for it",
        "split 'test' is left out: of 1 group, none is free for it",
    )


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


names = st.integers(0, 12).map(str)


@given(
    st.lists(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1])),
    st.dictionaries(names, st.sampled_from("xyz")),
    st.randoms(),
)
def test_what_resembles_is_one_group_and_what_was_published_keeps_its_own(
    pairs: list[tuple[str, str]], published: dict[str, str], random: Random
) -> None:
    own = {str(n): f"group {n}" for n in range(13)}
    found = join_alike(pairs, own, published)
    assert found.keys() == {name for pair in pairs for name in pair}
    assert all(found[name] == published[name] for name in found.keys() & published.keys())
    assert all(found[one] == found[other] for one, other in pairs if not published)
    assert found == join_alike([pair[::-1] for pair in random.sample(pairs, len(pairs))], own, published)


def test_two_that_are_alike_may_be_in_different_groups_of_one_split_and_in_no_two_splits() -> None:
    groups = {"a": "one", "b": "two", "c": "three"}
    for split, torn in (("train", {}), ("validation", {"b": "a"})):
        assert find_torn([("a", "b")], groups, groups, {"one": "train", "two": split}) == torn


@given(seeds)
def test_the_only_group_with_a_value_stays_in_the_largest_split(seed: int) -> None:
    groups = outline((f"g{n}", ("x" if n else "rare", "y")) for n in range(10))
    assert assign(groups, {"train": 0.7, "validation": 0.3}, seed=seed, placed={}).groups["g0"] == "train"


def test_a_conversation_joins_the_published_one_that_it_resembles_and_chains_follow() -> None:
    own = {name: name.upper() for name in "abcdefg"}
    pairs = [("a", "b"), ("b", "c"), ("d", "e"), ("f", "c")]
    assert join_alike(pairs, own, {"c": "C", "g": "G"}) == {"a": "C", "b": "C", "c": "C", "f": "C", "d": "D", "e": "D"}
