"""What a dataset asks for next is registered with the variation lines that its prompts then have, whoever sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from convoforge.dataset.registering import register
from convoforge.generation.jobs import make_job
from convoforge.ledger import Ledger
from convoforge.ledger.requests import claim, read_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.planning.keys import request_fingerprint
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import change_spec, load_spec
from convoforge.planning.templates import Library
from convoforge.settings import ROOT

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield ledger


def plan_of(**axes: list[str]) -> Plan:
    spec = load_spec("demo", ROOT / "configs")
    return make_plan(change_spec(spec, axes=axes), Library.at(ROOT / "configs"), "anthropic")


def test_lines_stay_with_their_cell_as_personas_come_and_serve_all_of_its_draws(ledger: Ledger) -> None:
    small, large = plan_of(), plan_of(persona=["Aunt of Nobody", *plan_of().spec.axes.persona])
    dataset = ledger.write(ensure_dataset, "demo", "anthropic", NOW)
    register(ledger, small, dataset, [(cell, 0) for cell in small.cells])
    before = {draw.cell: draw.lines for draw in ledger.read(read_draws, dataset)}
    register(ledger, large, dataset, [(cell, draw) for cell in large.cells for draw in range(2)])
    draws = ledger.read(read_draws, dataset)
    assert all(before.get(draw.cell, draw.lines) == draw.lines for draw in draws)
    cells = {cell.key: cell for cell in large.cells}
    prompts = {}
    draws = [draw for draw in draws if draw.cell in cells]
    for claimed in ledger.write(claim, "me", [draw.request_id for draw in draws], NOW):
        job = make_job(large, cells[claimed.cell], claimed)
        prompts[claimed.request_id] = request_fingerprint(large.spec.model, job.prompt, job.settings)
    assert prompts == {draw.request_id: large.fingerprint(cells[draw.cell], draw.draw, draw.lines) for draw in draws}
    assert len({*prompts.values()}) == 2 * len(cells)


def test_all_that_is_drawn_is_even_over_the_dataset(ledger: Ledger) -> None:
    plan = plan_of()
    dataset = ledger.write(ensure_dataset, "demo", "anthropic", NOW)
    register(ledger, plan, dataset, [(cell, 0) for cell in plan.cells])
    lines = {draw.cell: (draw.lines or "").split() for draw in ledger.read(read_draws, dataset)}
    for template in plan.spec.templates:
        for at, size in enumerate(plan.library.template(template).sizes.values()):
            counts = Counter(int(lines[cell.key][at]) for cell in plan.cells if cell.template == template)
            assert max(counts.values()) - min(counts[line] for line in range(size)) <= 1
