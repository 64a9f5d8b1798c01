"""What the API refuses costs nothing, and is not lost: an empty account leaves draws pending; a refused request may be asked again."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from support import Project, Simulator

from flows.build_dataset import build_dataset
from tasks.report import BuildReport

RunFlow = Callable[..., State[Any]]
EMPTY = {
    "kind": "400",
    "message": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
}


def report_in(state: State[Any]) -> BuildReport:
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, BuildReport), found
    return found


def states(project: Project) -> Counter[str]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return Counter(state for (state,) in connection.execute("SELECT state FROM requests"))


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_an_empty_account_uses_up_no_draw_however_often_one_builds(
    run_flow: RunFlow, building: Project, simulator: Simulator, mode: str
) -> None:
    building.spec("empty", mode=mode, max_draws=1)
    for _ in range(2):
        simulator.script(*[EMPTY] * 8)
        state = run_flow(build_dataset, spec="empty", simulate=True)
        report = report_in(state)
        assert (state.type.value, report.exhausted, report.refused, report.cost_usd) == ("FAILED", 0, 0, "0.00")
        assert "credit balance is too low" in report.message and "\n" not in report.message
        assert states(building) == {"pending": 8}
        simulator.script_nothing()
    report = report_in(run_flow(build_dataset, spec="empty", simulate=True))
    assert (report.state, report.accepted, report.generated) == ("completed", 8, 8)


def test_a_refused_request_is_asked_again_after_a_change_or_by_wish_and_not_otherwise(
    run_flow: RunFlow, building: Project, simulator: Simulator
) -> None:
    building.spec("refused", max_draws=1)
    simulator.script(*["400"] * 8)
    first = report_in(run_flow(build_dataset, spec="refused", simulate=True))
    assert (first.state, first.refused, first.exhausted, first.pending, first.failed) == ("partial", 8, 0, 0, 8)
    assert "8 requests were refused by the API" in first.message
    assert any("--retry-refused" in note and "The request is not valid" in note for note in first.notes)
    asked = simulator.books()["requests"]

    unchanged = report_in(run_flow(build_dataset, spec="refused", simulate=True))
    assert (unchanged.state, unchanged.refused, simulator.books()["requests"]) == ("partial", 8, asked)

    simulator.script(*["400"] * 3)
    by_wish = report_in(run_flow(build_dataset, spec="refused", simulate=True, retry_refused=True))
    assert (by_wish.state, by_wish.accepted, by_wish.refused) == ("partial", 5, 3)
    assert simulator.books()["requests"] == asked + 8  # each once: what is refused again is not asked a third time

    building.spec("refused", max_draws=1, generation={"max_tokens": 3000})
    changed = report_in(run_flow(build_dataset, spec="refused", simulate=True))
    assert (changed.state, changed.accepted, changed.generated, changed.refused) == ("completed", 8, 3, 0)
