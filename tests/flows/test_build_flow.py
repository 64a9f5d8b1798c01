"""The flow of a build as Prefect has it: states that say what happened, artifacts, logs, events, and few task runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow_async
from prefect.states import AwaitingRetry
from support import Project
from watching import Operator, wait_for

from convoforge.claude import SIMULATOR_KEY
from convoforge.dataset.release import publish_dataset
from convoforge.errors import ConfigError, ConvoforgeError, LedgerError
from convoforge.flows.build_dataset import build_dataset
from convoforge.generation.endpoint import limit_label
from convoforge.models import Provider
from convoforge.planning.spec import load_spec
from convoforge.rate import fingerprint
from convoforge.rate.keys import limit_name
from convoforge.simulator.client import SimulatorControl
from convoforge.tasks.generate import SINGLY_UP_TO, shard
from convoforge.tasks.report import BuildReport

RunFlow = Callable[..., State[Any]]
ONE = {"persona": ["A"], "emotion": ["Fear"], "topic": ["x", "y"], "tier": ["template"]}


def report_in(state: State[Any]) -> BuildReport:
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, BuildReport)
    return found


def test_a_build_that_makes_everything_is_completed(run_build: RunFlow, building: Project, operator: Operator) -> None:
    building.spec("states-all")
    state = run_build(spec="states-all", simulate=True)
    report = report_in(state)
    kept = operator.run(report.run_id).state
    more = f"convoforge status {report.run_id[:8]}"
    assert kept is not None
    assert (kept.type.value, kept.name, kept.message) == ("COMPLETED", "Completed", f"all 8 accepted; more: {more}")


def test_a_new_version_is_announced_as_an_asset_and_an_unchanged_one_is_not(
    run_build: RunFlow, building: Project, operator: Operator
) -> None:
    for topics in (["x"], ["x"], ["x", "y"]):
        building.spec("states-asset", axes={**ONE, "topic": topics})
        last = report_in(run_build(spec="states-asset", simulate=True))
    events = operator.events("prefect.asset.materialization.succeeded", "convoforge://simulated/states-asset", 2)
    assert [event["version"] for event in events] == [1, 2]
    assert (events[1]["path"], events[1]["run_id"]) == (last.path, last.run_id)


@pytest.mark.parametrize(
    ("error", "tries", "name"),
    [(LedgerError("the database is away"), 2, "Completed"), (ConfigError("the folder is of no use"), 1, "Failed")],
)
def test_publishing_is_tried_again_unless_a_person_has_to_mend_something(
    error: ConvoforgeError, tries: int, name: str, run_build: RunFlow, building: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.spec("states-away", axes=ONE)
    calls: list[int] = []

    def fail_once(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return publish_dataset(*given, **named)

    monkeypatch.setattr("convoforge.tasks.publish.publish_dataset", fail_once)
    assert run_build(spec="states-away", simulate=True).name == name
    assert len(calls) == tries


def test_limit_makes_so_many_and_no_more(
    run_build: RunFlow, building: Project, simulator: SimulatorControl, operator: Operator
) -> None:
    building.spec("states-limit")
    state = run_build(spec="states-limit", simulate=True, limit=3)
    report = report_in(state)
    assert (state.name, report.state, report.generated, simulator.usage()["requests"]) == ("Limited", "limited", 3, 3)
    assert len([name for name in operator.task_runs(report.run_id, 3 + 3) if "#" in name]) == 3
    rest = report_in(run_build(spec="states-limit", simulate=True, limit=100))
    assert (rest.state, rest.held, rest.accepted) == ("completed", report.accepted, 8)


def test_a_changed_spec_pays_for_its_change_alone_and_a_schedule_takes_no_large_part_out(
    run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    axes = {"persona": ["A", "B", "C"], "emotion": ["Fear", "Calm", "Hope"], "topic": ["x", "y"], "tier": ["template"]}
    building.spec("states-grown", axes=axes, sample=12)
    first = report_in(run_build(spec="states-grown", simulate=True))
    assert first.accepted == 12
    building.spec("states-grown", axes={**axes, "persona": ["A", "B", "C", "D"]}, sample=12)
    spent = simulator.usage()["requests"]
    refused = run_build(spec="states-grown", simulate=True)
    assert refused.is_failed() and refused.message is not None
    assert refused.message.startswith("3 of 12 accepted conversations, $0.0")
    assert "with the parameter strand=1; more: " in refused.message
    assert simulator.usage()["requests"] == spent
    grown = report_in(run_build(spec="states-grown", simulate=True, strand=1))
    assert (grown.held, grown.accepted) == (9, 12)
    # told once: the next night has nothing to do, and nothing is left behind
    assert report_in(run_build(spec="states-grown", simulate=True)).generated == 0


def test_a_run_that_ends_short_is_completed_as_partial(
    run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    building.spec("states-short", axes=ONE, max_draws=1)
    simulator.script("refusal")
    state = run_build(spec="states-short", simulate=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Partial")
    more = f"convoforge errors {report_in(state).run_id[:8]}"
    assert state.message == f"1 of 2 accepted; 1 cell is out of draws; more: {more}"


def test_what_failed_in_transport_gets_one_last_pass(run_build: RunFlow, building: Project, simulator: SimulatorControl) -> None:
    building.spec("states-transport", axes=ONE, retry={"max_attempts": 1, "base_delay_seconds": 0, "jitter_seconds": 0})
    simulator.script("500", "500")
    assert run_build(spec="states-transport", simulate=True).name == "Completed"
    building.spec("states-transport2", axes=ONE, retry={"max_attempts": 1, "base_delay_seconds": 0, "jitter_seconds": 0})
    simulator.script("500", "500", "500", "500")
    state = run_build(spec="states-transport2", simulate=True)
    assert (state.name, report_in(state).message) == ("Partial", "0 of 2 accepted; 2 failed in transport and stay pending")


def test_a_run_that_no_request_can_serve_has_failed(
    run_build: RunFlow, building: Project, simulator: SimulatorControl, operator: Operator
) -> None:
    building.spec("states-fatal", axes=ONE)
    simulator.script("402")
    state = run_build(spec="states-fatal", simulate=True)
    report = report_in(state)
    assert (state.type.value, report.state) == ("FAILED", "failed")
    kept = operator.run(report.run_id).state
    assert kept is not None and kept.message == f"{report.message}; more: convoforge errors {report.run_id[:8]}"
    assert "402" in report.message and "\n" not in report.message


def test_a_retry_in_prefect_is_the_same_run(
    run_flow: RunFlow, run_build: RunFlow, building: Project, simulator: SimulatorControl, operator: Operator
) -> None:
    building.spec("states-retried", axes=ONE, limits={"max_requests": 100_000, "concurrency": 1})
    simulator.script("402")
    first = report_in(run_build(spec="states-retried", simulate=True))
    assert first.state == "failed"
    operator.client.set_flow_run_state(UUID(first.run_id), AwaitingRetry(), force=True)
    run = operator.run(first.run_id)
    again = partial(run_flow_async, build_dataset, flow_run=run, parameters=run.parameters, return_type="state")
    state = run_flow(again)  # as a worker's process does it
    report = report_in(state)
    assert (report.run_id, state.name, operator.run(first.run_id).run_count) == (first.run_id, "Completed", 2)
    with sqlite3.connect(building.data / "ledger.db") as connection:
        assert connection.execute("SELECT id, state FROM runs").fetchall() == [(first.run_id, "completed")]
        assert connection.execute("SELECT DISTINCT run_id FROM generation_logs").fetchall() == [(first.run_id,)]


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [("no-such-spec", ConfigError, "no-such-spec"), ("states-unwritable", ConvoforgeError, "could be published")],
)
def test_what_goes_wrong_is_one_line_in_the_state(
    spec: str, error: type[Exception], said: str, run_build: RunFlow, building: Project, operator: Operator
) -> None:
    building.spec("states-unwritable", axes=ONE)
    building.data.mkdir()
    (building.data / "simulated").touch()  # where a folder has to be
    state = run_build(spec=spec, simulate=True)
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, error)
    run = operator.newest(spec)
    assert run is not None and run.state is not None and run.state.type.value == "FAILED"
    assert run.state.message == f"{found}; more: prefect flow-run logs {run.id}"
    assert said in run.state.message
    assert "\n" not in run.state.message and "Traceback" not in run.state.message


def test_a_run_that_breaks_off_is_not_left_as_running_in_the_ledger(run_build: RunFlow, building: Project) -> None:
    building.spec("states-broken", axes=ONE)
    building.data.mkdir()
    (building.data / "simulated").touch()
    run_build(spec="states-broken", simulate=True)
    with sqlite3.connect(building.data / "ledger.db") as connection:
        state, message, finished = connection.execute("SELECT state, message, finished_at FROM runs").fetchone()
    assert (state, finished is not None) == ("failed", True)
    assert "could be published" in message


def test_the_operators_numbers_win_and_the_run_says_so(run_build: RunFlow, building: Project, operator: Operator) -> None:
    path = building.spec("states-tuned", axes=ONE)
    spec = load_spec(str(path), building.folder / "configs", model=None)
    name = limit_name(limit_label(spec, "", "simulator"), fingerprint(SIMULATOR_KEY), spec.model, "requests")
    operator.client.create_global_concurrency_limit(
        GlobalConcurrencyLimitCreate(name=name, limit=1000, slot_decay_per_second=500)
    )
    report = report_in(run_build(spec="states-tuned", simulate=True))
    assert wait_for(lambda: "the numbers set in Prefect win" in operator.log(report.run_id), "the line about the limit", 20)


def test_new_limits_of_a_simulated_dataset_are_new_limits_in_prefect(building: Project) -> None:
    def label(provider: Provider, **limits: Any) -> str:
        spec = load_spec(str(building.spec("labels", limits=limits)), building.folder / "configs", model=None)
        return limit_label(spec, "https://me:secret@api.example.com/v1", provider)

    plain = label("simulator", max_requests=50)
    assert plain == "simulator-labels-50-per-60s-0.9"
    others = [{"max_requests": 51}, {"window_seconds": 0.5}, {"pause_threshold": 0.8}, {"input_tokens": 9}, {"output_tokens": 8}]
    assert len({plain, *(label("simulator", **{"max_requests": 50, **limits}) for limits in others)}) == 6
    assert label("anthropic", max_requests=50) == label("anthropic", max_requests=51)
    assert "secret" not in limit_name(label("anthropic"), "3f2a9c", "claude", "requests")


def test_a_budget_tells_when_it_is_used_up_to_its_shares(run_build: RunFlow, building: Project, operator: Operator) -> None:
    building.spec("states-budget", budget={"run_usd": 5, "dataset_usd": 10, "alert_at": [0.00001, 0.00002, 0.9]})
    report = report_in(run_build(spec="states-budget", simulate=True, limit=4))
    about = ("convoforge.budget.reached", "convoforge.dataset.states-budget")
    told = operator.events(*about, count=4)
    assert {(one["budget"], one["share"]) for one in told} == {
        (what, at) for what in ("run", "dataset") for at in ("1e-05", "2e-05")
    }
    assert told[0]["resource"]["convoforge.provider"] == "simulator"
    assert 0 < Decimal(told[0]["spent_usd"]) <= Decimal(report.cost_usd)
    assert wait_for(lambda: "of the run budget is spent" in operator.log(report.run_id), "a warning in the log", 20)
    run_build(spec="states-budget", simulate=True, limit=1)
    again = operator.events(*about, count=6)
    assert sorted(one["budget"] for one in again) == ["dataset", "dataset", *["run"] * 4]  # the dataset's were told already


@pytest.mark.long
def test_datasets_of_one_account_share_its_budget_of_the_day(run_build: RunFlow, building: Project, operator: Operator) -> None:
    shared = {"account": "team", "day_usd": 0.2, "alert_at": [0.9]}
    for name, budget in (("account-a", shared), ("account-b", shared), ("account-c", {"account": "others", "day_usd": 0.2})):
        building.spec(name, budget=budget, per_cell=2, limits={"max_requests": 100_000, "concurrency": 1})
    first, second, third = (report_in(run_build(spec=f"account-{name}", simulate=True)) for name in "abc")
    assert (first.state, third.state) == ("completed", "completed")
    assert second.state == "partial"
    assert second.message.startswith("day budget of account 'team' reached at $0.1")
    assert second.generated > 0
    assert Decimal("0.1") < Decimal(first.cost_usd) + Decimal(second.cost_usd) <= Decimal("0.2")
    again = report_in(run_build(spec="account-b", simulate=True))
    assert (again.generated, again.cost_usd) == (0, "0.00")  # the day is not over


@given(ids=st.lists(st.integers(), max_size=3_000), more=st.integers(0, 100_000))
def test_shards_hold_every_request_once_and_are_of_one_or_at_most_fifty(ids: list[int], more: int) -> None:
    total = len(ids) + more
    shards = shard(ids, total)
    assert [one for some in shards for one in some] == ids
    assert all(shards)
    sizes = {len(some) for some in shards}
    if total <= SINGLY_UP_TO:
        assert sizes <= {1}
    else:
        assert len(shards) == -(-len(ids) // 50)
        assert not sizes or (max(sizes) <= 50 and max(sizes) - min(sizes) <= 1)
