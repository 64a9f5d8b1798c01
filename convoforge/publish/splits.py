"""Which split a group of conversations goes to. Pure.

By a hash of the group's key, never by row: conversations of one group resemble each other, and a validation split that holds
near-copies of what was trained on measures nothing. A group stays where it is whatever groups come or go; the one exception
is a split that chance leaves empty (four groups at 10 % leave validation empty two times in three).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from convoforge.errors import ConfigError, format_count


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Where each group goes (`groups`: group → split), which of them not by their hash (`moved`), and notes about it for a person."""

    groups: Mapping[str, str]
    moved: Mapping[str, str]
    notes: tuple[str, ...]


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises ConfigError unless the names are ones `datasets` takes and the fractions are positive and add up to 1."""
    for name, fraction in fractions.items():
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ConfigError(f"the split name '{name}' cannot be loaded by `datasets`: use letters, digits and _ only.")
        if not fraction > 0:
            raise ConfigError(f"the split '{name}' has the fraction {fraction}: it must be above 0, or be left out.")
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise ConfigError(f"the fractions of the splits add up to {sum(fractions.values()):g}, not to 1.")


def by_hash(group: str, fractions: Mapping[str, float], *, seed: int) -> str:
    """The split of `group` by its own key alone."""
    position = _position(group, seed)
    return next((split for split, (_, end) in _ranges(fractions).items() if position < end), [*fractions][-1])


def assign(groups: Iterable[str], fractions: Mapping[str, float], *, seed: int) -> SplitPlan:
    """The split of every group, by hash; then each split that is empty, in order, is given the group nearest to its range.

    With fewer groups than splits the first splits are filled, the others left out.
    """
    hashed = {group: by_hash(group, fractions, seed=seed) for group in sorted(set(groups))}
    plan, order, notes = dict(hashed), [*fractions], []
    for rank, (split, (start, end)) in enumerate(_ranges(fractions).items()):
        held = Counter(plan.values())
        if not plan or held[split]:
            continue
        # A later split may lose its only group here: it is filled again, or left out, when its turn comes.
        spare = [group for group, owner in plan.items() if held[owner] > 1 or order.index(owner) > rank]
        if not spare:
            notes.append(
                f"split '{split}' is left out: the dataset has {format_count(len(plan), 'group')}, too few for {len(order)} splits"
            )
            continue
        chosen = min(spare, key=lambda group: (max(start - _position(group, seed), _position(group, seed) - end), group))
        plan[chosen] = split
        notes.append(f"split '{split}' would be empty, so the group '{chosen}' was given to it")
    return SplitPlan(plan, {group: split for group, split in plan.items() if split != hashed[group]}, tuple(notes))


def _position(group: str, seed: int) -> float:
    """A number in [0, 1) that only the group and the seed decide."""
    digest = hashlib.sha256(f"{seed}\x1f{group}".encode(errors="backslashreplace")).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def _ranges(fractions: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    ends = [*accumulate(fractions.values())]
    return dict(zip(fractions, zip([0.0, *ends], ends, strict=False), strict=True))
