"""Precision and recall of the filters, on the labelled set by several hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.filters import measure
from benchmarks.labelled import Labelled, read_labelled
from convoforge.planning.quality import FilterChoice
from convoforge.scoring.filters import DEFAULT, FILTERS
from convoforge.scoring.registry import find_filters

LEAST = {"refusals": 0.9, "pii": 0.95, "insults": 0.94, "salad": 0.79, "off_topic": 0.65}
"""Recall of what wordings are endless for, and of those that are asked by name alone; 0.95 of all others."""


@pytest.fixture(scope="module")
def labelled() -> Sequence[Labelled]:
    return read_labelled()


def test_the_set_has_faults_and_honest_turns_enough(labelled: Sequence[Labelled]) -> None:
    kinds = [one.kind for one in labelled]
    assert kinds.count("") >= 1500
    assert len(kinds) - kinds.count("") >= 2800
    assert all(kinds.count(name) >= 12 for name in DEFAULT)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_finds_what_it_is_for_and_little_else(labelled: Sequence[Labelled], name: str) -> None:
    (one,) = find_filters([FilterChoice(name=name)])
    done = measure(one, labelled)
    assert done.precision >= 0.98, [(reason, each.text) for each, reason in done.wrong]
    if done.faults:
        assert done.recall >= LEAST.get(name, 0.95), [each.text for each in done.missed]


def test_what_filters_read_together_changes_no_verdict(labelled: Sequence[Labelled]) -> None:
    filters = find_filters([FilterChoice(name=name) for name in FILTERS])
    some = labelled[::23]
    in_turn = [[one.result(each.conversation, each.context) for one in filters] for each in some]
    alone = [[one.result(replace(each.conversation), each.context) for each in some] for one in filters]
    assert in_turn == [*map(list, zip(*alone, strict=True))]
