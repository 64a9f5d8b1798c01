"""A sampled dataset whose spec changes: what the ledger holds stays in the plan, for whoever asks for it, and what leaves is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from math import ceil
from pathlib import Path

import pytest
from recorded import LIBRARY, Dataset
from sqlalchemy import select
from support import Project

from convoforge.dataset.status import find_stranded
from convoforge.ledger import Ledger
from convoforge.ledger.plans import read_run_plan
from convoforge.ledger.tables import plans
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import DatasetSpec, change_spec, load_spec
from convoforge.settings import ROOT


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def dataset(ledger: Ledger) -> Dataset:
    return Dataset(ledger)


def shipped(name: str = "financial-advice") -> DatasetSpec:
    return load_spec(name, ROOT / "configs")


def with_axis(spec: DatasetSpec, axis: str, values: tuple[str, ...]) -> DatasetSpec:
    return change_spec(spec, axes={axis: values})


def even(plan: Plan) -> bool:
    counts = [Counter(getattr(cell, axis) for cell in plan.cells) for axis in ("persona", "emotion", "topic", "tier")]
    return all(max(one.values()) - min(one.values()) <= 1 for one in counts)


@pytest.mark.parametrize(
    ("name", "axis"), [("financial-advice", "persona"), ("financial-advice", "topic"), ("customer-support", "emotion")]
)
def test_one_value_more_in_a_shipped_spec_pays_for_its_own_share_alone(dataset: Dataset, name: str, axis: str) -> None:
    spec = shipped(name)
    dataset.build(spec)
    assert dataset.accepted(spec) == 300
    values = getattr(spec.axes, axis)
    for more in (("a new one", *values), (*values, "a new one")):
        changed = with_axis(spec, axis, more)
        assert dataset.accepted(changed) >= 300 - ceil(300 / len(more))
        assert even(dataset.plan(changed))
        stranded = find_stranded(dataset.ledger, dataset.plan(changed))
        assert (stranded.conversations, stranded.accepted) == (300 - dataset.accepted(changed), 300)
        assert stranded.paid_usd == Decimal("0.01") * stranded.conversations


@pytest.mark.parametrize("axis", ["persona", "emotion", "topic"])
def test_one_value_less_keeps_all_the_others(dataset: Dataset, axis: str) -> None:
    spec = shipped()
    plan = dataset.build(spec)
    values = getattr(spec.axes, axis)
    gone = sum(getattr(cell, axis) == values[3] for cell in plan.cells)
    changed = with_axis(spec, axis, values[:3] + values[4:])
    assert dataset.accepted(changed) == 300 - gone
    assert even(dataset.plan(changed))
    assert find_stranded(dataset.ledger, dataset.plan(changed)).conversations == gone


def test_the_order_of_the_values_and_what_is_no_axis_change_nothing(dataset: Dataset) -> None:
    spec = shipped()
    plan = dataset.build(spec)
    turned = with_axis(spec, "persona", spec.axes.persona[::-1])
    for same in (turned, change_spec(spec, quality={"min_score": 7}), change_spec(spec, model="claude-opus-5", per_cell=2)):
        assert dataset.plan(same).cells == plan.cells
        assert find_stranded(dataset.ledger, dataset.plan(same)).conversations == 0
    assert make_plan(turned, LIBRARY, "anthropic").cells == make_plan(spec, LIBRARY, "anthropic").cells


def test_going_there_and_back_pays_for_the_way_there_only(dataset: Dataset) -> None:
    spec = shipped()
    more = with_axis(spec, "persona", (*spec.axes.persona, "One More"))
    first = dataset.build(spec)
    dataset.build(more)
    assert dataset.accepted(spec) == 300
    assert {cell.key for cell in dataset.build(spec).cells} == {cell.key for cell in first.cells}
    assert dataset.accepted(more) == 300


def test_another_seed_or_size_keeps_what_is_held(dataset: Dataset) -> None:
    spec = shipped()
    dataset.build(spec)
    assert dataset.accepted(change_spec(spec, seed=8)) == 300
    assert dataset.accepted(change_spec(spec, sample=400)) == 300
    assert dataset.accepted(change_spec(spec, sample=200)) == 200
    assert find_stranded(dataset.ledger, dataset.plan(change_spec(spec, sample=200))).conversations == 100


def test_a_build_cut_short_goes_on_with_the_cells_it_chose(dataset: Dataset) -> None:
    spec = shipped()
    plan = dataset.build(spec, limit=40)
    assert dataset.plan(spec).cells == plan.cells == make_plan(spec, LIBRARY, "anthropic").cells
    more = with_axis(spec, "topic", (*spec.axes.topic, "one more"))
    cut = dataset.build(more, limit=5)
    dataset.build(more, limit=50)
    assert dataset.plan(more).cells == cut.cells
    assert dataset.accepted(more) >= 40 - 5 + 5 + 50


def test_a_ledger_that_has_kept_no_plan_is_gone_on_with(dataset: Dataset) -> None:
    """What it holds is a part of what a new plan chooses."""
    spec = shipped()
    plan = dataset.build(spec, limit=200)
    dataset.ledger.write(lambda connection: connection.execute(plans.delete()))
    assert {cell.key for cell in dataset.plan(spec).cells} == {cell.key for cell in plan.cells}


def test_all_who_work_on_a_run_go_by_its_plan_whatever_another_build_chooses_meanwhile(dataset: Dataset) -> None:
    spec = shipped()
    dataset.build(spec)
    more = with_axis(spec, "persona", (*spec.axes.persona, "One More"))
    fewer = with_axis(spec, "persona", spec.axes.persona[1:])
    plan, _, run = dataset.begin(more)
    other = dataset.build(fewer)
    assert other.cells != plan.cells
    assert dataset.plan(more, run).cells == plan.cells
    kept = dataset.ledger.read(read_run_plan, run)
    assert kept is not None
    assert kept.cells == plan.numbers


def test_two_builds_that_begin_at_once_choose_the_same_cells(dataset: Dataset) -> None:
    spec = shipped()
    dataset.build(spec)
    more = with_axis(spec, "persona", (*spec.axes.persona, "One More"))
    with ThreadPoolExecutor(4) as pool:
        chosen = list(pool.map(lambda _: dataset.begin(more)[0].numbers, range(4)))
    assert len(set(chosen)) == 1
    rows = dataset.ledger.read(lambda connection: connection.execute(select(plans.c.id)).all())
    assert len(rows) == 2


def test_what_is_simulated_decides_nothing_for_what_is_real(dataset: Dataset) -> None:
    spec = shipped()
    Dataset(dataset.ledger, "simulator").build(with_axis(spec, "persona", (*spec.axes.persona, "One More")))
    assert dataset.plan(spec).cells == make_plan(spec, LIBRARY, "anthropic").cells
    assert find_stranded(dataset.ledger, dataset.plan(spec)).accepted == 0


def test_a_value_taken_out_of_a_whole_product_is_told_once(dataset: Dataset) -> None:
    spec = change_spec(
        shipped(),
        sample=None,
        axes={"persona": ("A", "B", "C"), "emotion": ("Fear", "Calm"), "topic": ("x", "y"), "tier": ("template", "scenario", "edge_case")},
    )  # fmt: skip
    dataset.build(spec)
    fewer = with_axis(spec, "persona", ("A", "B"))
    assert str(find_stranded(dataset.ledger, dataset.plan(fewer))).startswith(
        "12 of 36 accepted conversations, $0.12 already paid"
    )
    dataset.build(fewer)
    assert find_stranded(dataset.ledger, dataset.plan(fewer)).conversations == 0


def test_plan_says_what_a_change_strands(project: Project) -> None:
    axes = {"persona": ["A", "B"], "emotion": ["Fear", "Calm"], "topic": ["x", "y"], "tier": ["template"]}
    unfiltered = {"filters": []}  # recorded conversations have no turns, and another persona is another brief to be filtered by
    project.spec("small", axes=axes, sample=6, quality=unfiltered)
    spec = load_spec("small", project.folder / "configs")
    with Ledger(f"sqlite:///{project.data / 'ledger.db'}") as ledger:
        Dataset(ledger, "simulator").build(spec)
    assert project.run("plan", "small", "--simulate", "--json").last["stranded"] == 0
    project.spec("small", axes={**axes, "persona": ["B"]}, sample=4, quality=unfiltered)
    seen = project.run("plan", "small", "--simulate", "--json").last
    assert (seen["accepted"], seen["stranded"], seen["stranded_cost_usd"]) == (3, 3, "0.03")
    text = project.run("plan", "small", "--simulate").out
    assert "3 of 6 accepted conversations, $0.03 already paid, leave the dataset" in text
