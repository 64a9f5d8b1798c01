"""The same work met twice: by two builds at once, by a build beside one that is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from typing import Any

import pytest
from support import Project
from watching import Operator, wait_for

from convoforge.simulator.client import SimulatorControl


def start(project: Project, simulator: SimulatorControl, name: str) -> subprocess.Popen[str]:
    return project.start("build", name, "--simulate", "--json", ANTHROPIC_BASE_URL=simulator.url)


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def ledger_rows(project: Project, query: str) -> list[Any]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def test_two_builds_at_once_share_the_work_and_pay_for_nothing_twice(
    building: Project, slow_simulator: SimulatorControl, operator: Operator
) -> None:
    building.spec("shared", per_cell=5, limits={"max_requests": 100_000, "concurrency": 2})
    both = [start(building, slow_simulator, "shared") for _ in range(2)]
    reports = [report_of(process) for process in both]
    assert all(report["generated"] > 0 for report in reports)
    made = sum(report["generated"] for report in reports)
    assert slow_simulator.usage()["requests"] == made
    assert ledger_rows(building, "SELECT count(*), count(DISTINCT request_id) FROM generation_logs") == [(made, made)]
    for report in reports:
        assert (report["state"], report["accepted"], report["version"], report["failed"]) == ("completed", 40, 1, 0)
        # one for each request, and few beside it: who waits for another build makes no task runs meanwhile
        assert len(operator.task_runs(report["run_id"], report["generated"])) <= made + 10
    assert [report["published"] for report in reports].count(True) == 1


@pytest.mark.long
def test_a_build_takes_over_what_one_that_was_killed_had_claimed(building: Project, slow_simulator: SimulatorControl) -> None:
    building.spec("left-over", per_cell=3, limits={"max_requests": 100_000, "concurrency": 4})
    killed = start(building, slow_simulator, "left-over")
    processes = [killed]
    try:
        wait_for(lambda: slow_simulator.usage()["requests"] >= 1, "calls in flight")
        killed.send_signal(signal.SIGSTOP)  # its work stays claimed, however long the other takes to begin
        processes.append(other := start(building, slow_simulator, "left-over"))
        at_work = "SELECT count(DISTINCT run_id) FROM generation_logs"
        wait_for(lambda: ledger_rows(building, at_work) == [(2,)], "two builds at work")
        killed.kill()
        killed.communicate()
        report = report_of(other)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert (report["state"], report["accepted"]) == ("completed", 24)
    [(lost,)] = ledger_rows(building, "SELECT count(*) FROM generation_logs WHERE status = 'lost'")
    assert lost <= 4  # no more than were in flight
    assert ledger_rows(building, "SELECT count(*) FROM answers") == ledger_rows(
        building, "SELECT count(DISTINCT request_id) FROM answers"
    )
    assert ledger_rows(building, "SELECT count(*) FROM owners") == [(0,)]
