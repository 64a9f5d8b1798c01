"""The costs as a flow: a table, a page, and a state that says the total and the waste."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from support import Project
from watching import Operator

from convoforge.flows.cost_report import cost_report

RunFlow = Callable[..., State[Any]]
SMALL = {"persona": ["A | B"], "emotion": ["Fear"], "topic": ["x", "y"], "tier": ["template"]}


def result_in(state: State[Any]) -> Any:
    return state.data.result if hasattr(state.data, "result") else state.data


def artifacts(operator: Operator, state: State[Any]) -> dict[str, Any]:
    return operator.artifacts(str(state.state_details.flow_run_id))


def test_the_costs_of_a_build_are_a_page_and_a_line(
    run_flow: RunFlow, run_build: RunFlow, building: Project, operator: Operator
) -> None:
    building.spec("reported", axes=SMALL)
    assert run_build(spec="reported", simulate=True).is_completed()
    state = run_flow(cost_report, options={"simulated": True})
    costs = result_in(state)
    told = building.run("costs", "--simulated", "--json", "--by", "dataset").last
    assert (told.pop("ledger"), told.pop("reasons")) == (str(building.data / "ledger.db"), [])
    assert costs == told
    assert (costs["attempts"], costs["accepted"], [*costs["groups"]]) == (2, 2, ["reported"])
    assert (state.name, state.type.value) == ("Completed", "COMPLETED")
    assert state.message is not None and "\n" not in state.message
    assert state.message.startswith("$0.0")
    assert "for 2 attempts; $0.0" in state.message and "for each of 2 accepted; $0.00 wasted" in state.message
    assert state.message.endswith("(simulated: nothing was paid); more: convoforge costs --by dataset --simulated")
    run = operator.run(str(state.state_details.flow_run_id))
    assert (run.name, set(run.tags)) == (
        "costs · the beginning to now · by dataset · simulated",
        {"convoforge", "costs", "simulated"},
    )

    left = artifacts(operator, state)
    assert set(left) == {"markdown"}
    assert left["markdown"].key == "costs-simulated-report"
    page = left["markdown"].data.splitlines()
    assert page[0] == "# Costs, the beginning to now"
    assert "> **Simulated.** None of this was paid." in page
    assert not [line for line in page if line.startswith(" ")]  # it would be shown as code
    assert any(line.startswith("| reported | 2 | 0 |") for line in page)


def test_nothing_spent_is_a_report_too_and_a_period_is_of_whole_days(run_flow: RunFlow, operator: Operator) -> None:
    state = run_flow(cost_report, options={"since": "2026-11-01", "until": "2026-11-30", "by": "day"})
    assert state.message == "$0.00 for 0 attempts; - for each of 0 accepted; $0.00 wasted; more: convoforge costs --by day"
    assert result_in(state)["groups"] == {}
    assert artifacts(operator, state)["markdown"].data.startswith("# Costs, 2026-11-01 to 2026-11-30\n")


def test_a_period_that_ends_before_it_begins_is_said(run_flow: RunFlow) -> None:
    state = run_flow(cost_report, options={"since": "2026-12-01", "until": "2026-11-30"})
    assert (state.type.value, state.message) == (
        "FAILED",
        "the period begins on 2026-12-01, after its last day 2026-11-30; more: convoforge costs --help",
    )


def test_a_ledger_that_cannot_be_read_fails_in_a_line(run_flow: RunFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOFORGE_DATABASE_URL", "mysql://nowhere")
    state = run_flow(cost_report)
    assert state.type.value == "FAILED"
    assert state.message is not None and state.message.startswith("CONVOFORGE_DATABASE_URL")


def test_another_group_is_refused(run_flow: RunFlow) -> None:
    assert isinstance(result_in(run_flow(cost_report, options={"by": "week"})), ParameterTypeError)


def test_a_prefect_server_that_takes_no_artifacts_changes_nothing(run_flow: RunFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_given: object, **_named: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr("convoforge.flows.cost_report.acreate_markdown_artifact", refuse)
    assert run_flow(cost_report).is_completed()
