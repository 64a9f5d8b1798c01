"""A run of a deployment that is suspended and resumed is one run: its money, its counts and its budget are the whole run's."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from support import Project
from watching import Operator

from convoforge.flows.build_dataset import build_dataset
from convoforge.simulator.client import SimulatorControl
from convoforge.tasks.report import BuildReport

RunFlow = Callable[..., State[Any]]


def row_of(project: Project) -> tuple[str, str]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        state, message = connection.execute("SELECT state, message FROM runs").fetchone()
    return state, message


def test_suspended_and_resumed_it_counts_and_pays_as_one_run(
    run_flow: RunFlow, building: Project, slow_simulator: SimulatorControl, operator: Operator, monkeypatch: Any
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow_simulator.url)
    building.spec("resumed", per_cell=3, limits={"max_requests": 100_000, "concurrency": 2})
    flow_id = operator.client.create_flow(build_dataset)
    deployment = operator.client.create_deployment(flow_id=flow_id, name="resumed", entrypoint="unused")
    parameters = {"spec": "resumed", "options": {"simulate": True, "limit": 20}}
    run_id = operator.client.create_flow_run_from_deployment(deployment, parameters=parameters).id

    def as_a_worker() -> Any:
        run = operator.client.read_flow_run(run_id)
        return partial(run_flow_async, build_dataset, flow_run=run, parameters=run.parameters, return_type="state")

    async def suspended_after_six() -> Any:
        running = asyncio.create_task(as_a_worker()())
        while slow_simulator.usage()["requests"] < 6:
            await asyncio.sleep(0.1)
        async with get_client() as client:  # as the UI does it
            asked = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True, "pause_timeout": None}}
            answer = await client.request("POST", "/flow_runs/{id}/set_state", path_params={"id": run_id}, json={"state": asked})
            assert answer.json()["status"] == "ACCEPT", answer.text
        try:
            await running
        except Pause as pause:
            return pause.state
        raise AssertionError("it went on")

    end = run_flow(suspended_after_six)
    assert end.name == "Suspended"
    first = slow_simulator.usage()["billed_delivered"]["requests"]
    assert 6 <= first < 20
    state, message = row_of(building)
    assert (state, message) == (
        "partial",
        f"suspended in Prefect; {first} generated so far, and Prefect's Resume continues the run",
    )
    assert not [line for line in operator.lines(str(run_id)) if line.level >= 40]
    operator.client.resume_flow_run(run_id)
    state = run_flow(as_a_worker())
    report = state.data.result
    assert isinstance(report, BuildReport)
    assert (state.name, report.run_id, report.generated, report.held) == ("Limited", UUID(str(run_id)).hex, 20, 0)
    billed = slow_simulator.usage()["billed_delivered"]
    assert billed["requests"] == 20
    with sqlite3.connect(building.data / "ledger.db") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        [(pico,)] = connection.execute("SELECT sum(cost_pico) FROM generation_logs")
    assert int(float(report.cost_usd) * 1e12 + 0.5) == pico
    assert float(report.estimated_cost_usd or 0) > float(report.cost_usd) / 2  # of the whole run, not of its second part
    assert row_of(building)[0] == "limited"
