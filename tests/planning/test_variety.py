"""Variation lines are used evenly by the cells that have something in common."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.planning.grid import Values
from convoforge.planning.plan import make_plan
from convoforge.planning.spec import load_spec
from convoforge.planning.templates import Library
from convoforge.planning.variety import FEW, find_start, pick_lines
from convoforge.settings import ROOT


def count_lines(cells: list[Values], picked: list[str], at: int, size: int) -> dict[tuple[int, str], list[int]]:
    """How often each line of one list is used, for each value of each axis."""
    counts = Counter(
        (axis, value, int(lines.split()[at]))
        for cell, lines in zip(cells, picked, strict=True)
        for axis, value in enumerate(cell)
    )
    return {(axis, value): [counts[axis, value, line] for line in range(size)] for axis, value, _ in counts}


@pytest.mark.parametrize("name", ["demo", "financial-advice", "customer-support"])
def test_no_line_of_a_shipped_spec_is_used_twice_as_often_as_another(name: str) -> None:
    library = Library.at(ROOT / "configs")
    spec = load_spec(name, ROOT / "configs")
    for template in map(library.template, spec.templates):
        cells = [cell.values for cell in make_plan(spec, library, "anthropic").cells if cell.template == template.name]
        picked = [*pick_lines(cells, {template.name: template.sizes}, ())]
        for at, size in enumerate(template.sizes.values()):
            for counts in count_lines(cells, picked, at, size).values():
                assert max(counts) - min(counts) <= 3
                assert max(counts) <= 2 * min(counts) or sum(counts) < 4 * size
            of_all = count_lines(cells, picked, at, size)[4, template.name]
            assert max(of_all) - min(of_all) <= 1


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.lists(st.integers(1, 9), max_size=3), st.integers(0, 300))
def test_each_value_sees_every_line_about_as_often_and_what_was_picked_stays(
    personas: int, emotions: int, topics: int, sizes: list[int], first: int
) -> None:
    cells: list[Values] = [
        (f"p{p}", f"e{e}", f"t{t}", "tier", "x") for p, e, t in product(range(personas), range(emotions), range(topics))
    ]
    lists = {f"list {at}": size for at, size in enumerate(sizes)}
    whole = [*pick_lines(cells, {"x": lists}, ())]
    before = [*pick_lines(cells[:first], {"x": lists}, ())]
    after = [*pick_lines(cells[first:], {"x": lists}, [*zip(cells, before, strict=False)])]
    assert [*before, *after] == whole or min(first, len(cells)) <= FEW
    for at, size in enumerate(sizes):
        for counts in count_lines(cells, whole, at, size).values():
            assert max(counts) - min(counts) <= 4 or len(cells) <= FEW  # 4 in 13 of the 65,988 that there are


@pytest.mark.parametrize("number", [FEW, FEW + 1])
def test_so_few_cells_that_none_can_be_even_keep_their_own_lines(number: int) -> None:
    cells: list[Values] = [("p", "e", f"t{t}", "tier", "x") for t in range(number)]
    own = [str(find_start(*cell[:4], "list") % 3) for cell in cells]
    assert ([*pick_lines(cells, {"x": {"list": 3}}, ())] == own) is (number == FEW)
