"""Whoever asks a run to stop, and how: it ends what it has begun, records it, and says how it ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from prefect.states import Cancelling, Suspended
from support import Project
from watching import Operator, wait_for

from convoforge.orchestration.cancellation import handle_signals
from convoforge.simulator.client import SimulatorControl

StartBuild = Callable[..., subprocess.Popen[str]]


def ledger_rows(project: Project, query: str) -> list[Any]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def assert_drained(project: Project, simulator: SimulatorControl, report: dict[str, Any]) -> None:
    """Every call that was paid is recorded, none is open, and nothing is held back from the next build."""
    assert report["state"] == "partial"
    assert 0 < report["generated"] < report["planned"]
    assert report["failed"] == 0
    assert simulator.usage()["billed_delivered"]["requests"] == report["generated"]
    assert ledger_rows(project, "SELECT DISTINCT status FROM generation_logs") == [("succeeded",)]
    assert ledger_rows(project, "SELECT count(*) FROM requests WHERE state = 'claimed'") == [(0,)]
    assert ledger_rows(project, "SELECT count(*) FROM owners") == [(0,)]
    assert ledger_rows(project, "SELECT state FROM runs") == [("partial",)]


def test_cancel_in_prefect_drains_the_run_within_six_seconds_and_is_called_that(
    start_build: StartBuild, building: Project, slow_simulator: SimulatorControl, operator: Operator
) -> None:
    process = start_build("cancelled")
    begun = time.monotonic()
    operator.set_state("cancelled", Cancelling())
    process.send_signal(signal.SIGTERM)  # as a worker does then
    report = report_of(process)
    assert time.monotonic() - begun < 6 + 9  # and the exit of the process, on a busy machine
    assert_drained(building, slow_simulator, report)
    state = operator.run(report["run_id"]).state
    assert state is not None and state.is_cancelled()
    assert report["message"] == f"cancelled in Prefect; {report['accepted']} of 64 accepted"
    assert state.message is not None and state.message.startswith(report["message"])
    ends = wait_for(lambda: operator.lines(report["run_id"], "Finished in state Cancelled"), "the last line of the log", 20)
    assert [line.level for line in ends] == [logging.INFO]


def test_suspend_in_prefect_drains_the_run_and_the_next_build_goes_on(
    start_build: StartBuild, building: Project, slow_simulator: SimulatorControl, operator: Operator
) -> None:
    process = start_build("suspended")
    # as Prefect's UI does it, also to a run that no worker could resume
    operator.set_state("suspended", Suspended(timeout_seconds=300), force=True)
    report = report_of(process)
    assert_drained(building, slow_simulator, report)
    end = operator.run(report["run_id"]).state
    assert end is not None and (end.type.value, end.name) == ("COMPLETED", "Partial")
    assert end.message is not None
    assert end.message.startswith(f"suspended in Prefect; {report['accepted']} of 64 accepted")


def test_sigterm_drains_the_run(
    start_build: StartBuild, building: Project, slow_simulator: SimulatorControl, operator: Operator
) -> None:
    process = start_build("terminated")
    process.send_signal(signal.SIGTERM)
    report = report_of(process)
    assert_drained(building, slow_simulator, report)
    state = operator.run(report["run_id"]).state
    assert state is not None and state.name == "Partial" and (state.message or "").startswith(report["message"])
    assert report["message"].startswith("stopped by SIGTERM; ")


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_asks_and_a_second_gives_up(first: signal.Signals) -> None:
    said: list[str] = []

    async def flow() -> None:
        with handle_signals(said.append, lambda: said.append("given up")):
            os.kill(os.getpid(), first)
            await asyncio.sleep(0.05)
            assert len(said) == 1
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with closing(asyncio.new_event_loop()) as loop, pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(flow())
    name = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[first]
    assert said == [f"stopped by {name}", "given up", "stopped by Ctrl-C"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
