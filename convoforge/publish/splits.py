"""Which split a group of conversations goes to. Pure.

Whole groups, never rows: conversations of one group resemble each other, and a validation split that holds near-copies of what was
trained on measures nothing. A group that was ever published stays in its split. New ones go first where a split lacks values that
they have, then, by a hash of their key, to each split until it has its share; the largest split takes the others.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from heapq import heapify, heappop, heappush
from operator import or_

from convoforge.errors import ConfigError, format_count

SLACK = 0.005
"""Part of all conversations by which a split may exceed its share to hold a value that it lacks."""

Outline = Mapping[str, tuple[int, int]]
"""The groups of a dataset: of each the number of its conversations, and a bit for each axis value among them."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Where each group goes (`groups`: group → split), and notes about it for a person."""

    groups: Mapping[str, str]
    notes: tuple[str, ...]


def outline(members: Iterable[tuple[str, Sequence[str]]]) -> Outline:
    """The groups of conversations, of which each is given by its group and its value of every axis."""
    rows: Counter[str] = Counter()
    masks: defaultdict[str, int] = defaultdict(int)
    bits: dict[tuple[int, str], int] = {}
    for group, values in members:
        rows[group] += 1
        for value in enumerate(values):
            masks[group] |= bits.setdefault(value, 1 << len(bits))
    return {group: (count, masks[group]) for group, count in rows.items()}


def join_alike(pairs: Iterable[tuple[str, str]], own: Mapping[str, str], published: Mapping[str, str]) -> dict[str, str]:
    """The group of each conversation that resembles another one: conversation → group. `pairs` are those that resemble each other, `own`
    the groups they would have alone, in the order of the dataset, `published` those with which some were published.

    A published one stays in its group. Another one joins the nearest published one that it resembles, directly or through others, or
    else the first of those. Published ones in different splits may so get others between them: `find_torn`.
    """
    alike = _link(pairs)
    found: dict[str, str] = {}

    def join(names: Iterable[str], groups: Mapping[str, str]) -> None:
        found.update(reached := {name: groups[name] for name in names if name in alike and name not in found})
        while reached:
            found.update(reached := {other: found[name] for name in reached for other in alike[name] if other not in found})

    join([name for name in own if name in published], published)
    for name in own:
        join([name], own)
    return found


def find_torn(
    pairs: Iterable[tuple[str, str]], order: Iterable[str], groups: Mapping[str, str], placed: Mapping[str, str]
) -> dict[str, str]:
    """Conversations that resemble one before them, in this order, that is in another split: each with that one. `groups` are theirs,
    `placed` the splits of groups; one without is taken for a split of its own. Without the torn ones, no two that are alike are apart."""
    alike, torn, kept = _link(pairs), dict[str, str](), dict[str, str]()
    for name in order:
        if name in alike:
            split = placed.get(groups[name], groups[name])
            apart = [other for other in alike[name] if kept.get(other, split) != split]
            if apart:
                torn[name] = apart[0]
            else:
                kept[name] = split
    return torn


def _link(pairs: Iterable[tuple[str, str]]) -> defaultdict[str, list[str]]:
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for one, other in sorted({(min(pair), max(pair)) for pair in pairs}):
        alike[one].append(other)
        alike[other].append(one)
    return alike


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises ConfigError unless the names are ones `datasets` takes and the fractions are positive and add up to 1."""
    for name, fraction in fractions.items():
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ConfigError(f"the split name '{name}' cannot be loaded by `datasets`: use letters, digits and _ only.")
        if not fraction > 0:
            raise ConfigError(f"the split '{name}' has the fraction {fraction}: it must be above 0, or be left out.")
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise ConfigError(f"the fractions of the splits add up to {sum(fractions.values()):g}, not to 1.")


def assign(groups: Outline, fractions: Mapping[str, float], *, seed: int, placed: Mapping[str, str]) -> SplitPlan:
    """The split of every group; `placed` are those of earlier versions.

    A split misses its share by no more than half the largest group, or `SLACK`, unless groups that were placed leave it no choice. Each
    split has a group, if there are enough new ones: the largest split first, then the others in their order.
    """
    largest = max(fractions, key=fractions.__getitem__)
    table = _Table(groups, largest, seed, placed)
    used = set(table.plan.values())
    empty = [split for split in dict.fromkeys((largest, *fractions)) if split not in used]
    waiting, left_out = empty[: len(table.free)], empty[len(table.free) :]
    for split in fractions:
        if split != largest and split not in left_out:
            waiting = [other for other in waiting if other != split]
            table.fill(split, fractions[split], keep=len(waiting))
    plan = {**table.plan, **dict.fromkeys(table.free, largest)}
    few = format_count(len(plan), "group")
    return SplitPlan(plan, tuple(f"split '{split}' is left out: of {few}, none is free for it" for split in left_out if plan))


class _Table:
    """Groups on their way into splits: `plan` has those that are placed, `free` the others in the order of their hashes. `_outside` counts,
    for each value, the groups that are in none of the smaller splits."""

    def __init__(self, groups: Outline, largest: str, seed: int, placed: Mapping[str, str]) -> None:
        self._groups = groups
        self.plan = {group: placed[group] for group in groups if group in placed}
        self.free = dict.fromkeys(sorted(groups.keys() - placed.keys(), key=lambda group: _rank(group, seed)))
        outside = (group for group in groups if self.plan.get(group, largest) == largest)
        self._outside = Counter(bit for group in outside for bit in _bits(groups[group][1]))

    def fill(self, split: str, fraction: float, *, keep: int) -> None:
        """Place free groups in a split until it has its fraction of all conversations; `keep` of them at least stay free."""
        total = sum(rows for rows, _ in self._groups.values())
        every = reduce(or_, (values for _, values in self._groups.values()))
        held = [self._groups[group] for group, owner in self.plan.items() if owner == split]
        rows, lacking = sum(size for size, _ in held), every & ~reduce(or_, (values for _, values in held), 0)

        def gain(group: str) -> float:
            """New values for each conversation."""
            size, values = self._groups[group]
            return (values & lacking).bit_count() / size

        def take(group: str, *, slack: float = 0, careful: bool = False, anyway: bool = False) -> None:
            nonlocal rows, lacking
            size, values = self._groups[group]
            fits = len(self.free) > keep and rows + size <= fraction * total + max(size / 2, slack)
            if anyway or (fits and not (careful and any(self._outside[bit] == 1 for bit in _bits(values)))):
                del self.free[group]
                self.plan[group] = split
                self._outside.subtract(_bits(values))
                rows, lacking = rows + size, lacking & ~values

        order = [(-gain(group), rank, group) for rank, group in enumerate(self.free)]
        heapify(order)
        while order and order[0][0]:
            known, rank, group = heappop(order)
            if -known > gain(group):  # groups taken since have brought the rest
                heappush(order, (-gain(group), rank, group))
            else:
                take(group, slack=SLACK * total, careful=True)
        for careful in (True, False):
            for group in [*self.free]:
                take(group, careful=careful)
        if not rows:
            take(min(self.free, key=lambda group: self._groups[group][0]), anyway=True)


def _bits(values: int) -> Iterator[int]:
    while values:
        bit = values & -values
        yield bit
        values ^= bit


def _rank(group: str, seed: int) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}\x1f{group}".encode(errors="backslashreplace")).digest(), group
