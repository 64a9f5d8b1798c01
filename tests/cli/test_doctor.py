"""`convoforge doctor` against what is really there: a simulator for the API, a Prefect server, a ledger; and each of them broken."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support import Done, Project

from convoforge.checks import machine
from convoforge.checks.account import _compare_clocks
from convoforge.checks.server import _check_schedules
from convoforge.finding import Finding
from convoforge.ledger import Ledger
from convoforge.orchestration.processes import Process
from convoforge.orchestration.schedules import Schedule
from convoforge.orchestration.server_api import ask
from convoforge.orchestration.server_home import Server, log_path, write_note
from convoforge.rate import fingerprint
from convoforge.simulator.client import SimulatorControl

Command = Callable[..., Done]
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def found(done: Done, check: str) -> list[tuple[str, str]]:
    return [(one["state"], one["what"]) for one in done.last["findings"] if one["check"] == check]


def test_a_project_with_a_key_a_ledger_and_no_server_is_told_what_is_there_and_what_to_do(
    run_here: Command, project: Project, simulator: SimulatorControl, simulator_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "prefect"
    home.mkdir(mode=0o700)
    environment = {"ANTHROPIC_API_KEY": "sk-good", "ANTHROPIC_BASE_URL": simulator_url, "PREFECT_HOME": str(home)}
    done = run_here("doctor", "--json", **environment)
    assert done.code == 0, done.out
    assert {one["check"] for one in done.last["findings"]} == {
        *("versions", "key", "limits", "clock", "specs", "budget", "price", "model", "ledger", "disk", "permissions"),
        "Prefect server",
    }
    assert found(done, "key") == [("good", f"{fingerprint('sk-good')} is taken by {simulator_url} for claude-sonnet-5-5")]
    assert found(done, "price") == [("good", "claude-sonnet-5-5: $2.00 in, $10.00 out for a million tokens")]
    assert found(done, "ledger") == [("good", f"none yet at {project.data / 'ledger.db'}: the first build makes it")]
    assert not project.data.exists()  # it looks, and makes nothing
    [(state, _)] = found(done, "Prefect server")
    assert (state, done.last["bad"]) == ("warning", 0)
    assert "sk-good" not in done.out + done.err
    said = run_here("doctor", **environment)
    assert said.code == 0
    assert "✓ versions" in said.out and "→ make up, for schedules and the UI" in said.out
    assert said.out.splitlines()[-1].endswith(" to know, 0 to mend")


def test_what_is_broken_is_red_and_says_what_to_do(
    run_here: Command, project: Project, simulator: SimulatorControl, simulator_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "prefect"
    home.mkdir(mode=0o700)
    project.spec("broken", axes={"persona": 7})
    project.spec("priceless", model="claude-of-nobody", budget={})
    project.spec("old", model="claude-3-haiku-20240307")
    with Ledger(f"sqlite:///{project.data / 'ledger.db'}"):
        pass
    with sqlite3.connect(project.data / "ledger.db") as connection:
        [index] = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL LIMIT 1").fetchone()
        connection.execute(f'DROP INDEX "{index}"')
    (project.data / "ledger.db").chmod(0o644)
    log_path(home).write_text("10:00:00.001 | ERROR   | prefect.server.services.scheduler - Unexpected error\n")
    environment = {
        "ANTHROPIC_API_KEY": "sk-wrong",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    done = run_here("doctor", "--json", **environment)
    assert done.code == 1
    bad = {one["check"]: one for one in done.last["findings"] if one["state"] == "bad"}
    assert set(bad) == {"specs", "key", "price", "model", "indexes", "Prefect server"}
    assert all(one["todo"] for one in bad.values())
    assert "broken.yaml" in bad["specs"]["what"]
    assert index in bad["indexes"]["what"]
    assert "claude-3-haiku-20240307 is retired" in bad["model"]["what"]
    assert "none answers at PREFECT_API_URL=http://127.0.0.1:9/api" in bad["Prefect server"]["what"]
    warned = {(one["check"], one["what"]) for one in done.last["findings"] if one["state"] == "warning"}
    assert ("budget", "priceless has no budget") in warned
    assert ("permissions", f"{project.data / 'ledger.db'} can be read by others") in warned
    assert "sk-wrong" not in done.out + done.err


def test_a_server_is_asked_for_its_version_schedules_workers_alerts_and_its_log(
    run_here: Command, prefect_server: str, tmp_path: Path
) -> None:
    home = tmp_path / "prefect"
    home.mkdir(mode=0o700)
    log_path(home).write_text("10:00:00.001 | ERROR   | prefect.server.services.scheduler - Unexpected error in: of this test\n")
    write_note(home, Server(prefect_server, Process.of(os.getpid())))
    flow = ask(prefect_server, None, "/flows/", {"name": "cost-report"})["id"]
    schedule = {"schedule": {"cron": "0 6 * * 1", "timezone": "UTC"}, "active": True}
    made = ask(prefect_server, None, "/deployments/", {"name": "of-doctor", "flow_id": flow, "schedules": [schedule]})["id"]
    pool = ask(prefect_server, None, "/work_pools/", {"name": "convoforge", "type": "process"})
    try:
        done = run_here("doctor", "--json", PREFECT_API_URL=prefect_server, PREFECT_HOME=str(home))
    finally:
        ask(prefect_server, None, f"/deployments/{made}", method="DELETE")
        ask(prefect_server, None, f"/work_pools/{pool['name']}", method="DELETE")
    server = found(done, "Prefect server")
    assert server[0] == ("good", f"{prefect_server.removesuffix('/api')}, Prefect {version('prefect')}")
    assert server[1][0] == "warning" and "it answers everybody" in server[1][1]
    [(state, what)] = found(done, "server's log")
    assert (state, "Unexpected error in: of this test" in what) == ("bad", True)
    [(state, what)] = [one for one in found(done, "schedules") if "of-doctor" in one[1]]
    assert (state, what) == ("bad", "cost-report/of-doctor has no next run") or (state == "good" and "runs next at" in what)
    assert found(done, "worker") == [("bad", "none is online: scheduled runs stay Late")]
    assert found(done, "alerts") == [("warning", "nobody is told when a run fails or a budget is used up")]


def states(findings: Any) -> list[str]:
    return [one.state for one in findings]


def test_a_schedule_needs_a_next_run_that_is_not_over() -> None:
    def check(*schedules: Schedule) -> list[Finding]:
        return list(_check_schedules(schedules, NOW))

    assert states(check(Schedule("a/b", active=True, next_run=NOW + timedelta(hours=1)))) == ["good"]
    assert states(check(Schedule("a/b", active=False, next_run=None))) == ["warning"]
    [none] = check(Schedule("a/b", active=True, next_run=None))
    assert (none.state, none.what) == ("bad", "a/b has no next run")
    [over] = check(Schedule("a/b", active=True, next_run=NOW - timedelta(minutes=6)))
    assert (over.state, over.what) == ("bad", "a/b was due at 2026-11-26 11:54 UTC and has not begun")
    assert states(check()) == ["warning"]


@pytest.mark.parametrize(("seconds", "state"), [(0, "good"), (4, "good"), (-20, "warning"), (3_000, "bad")])
def test_a_clock_that_is_wrong_is_noticed(seconds: int, state: str) -> None:
    date = format_datetime(NOW - timedelta(seconds=seconds), usegmt=True)
    assert states(_compare_clocks(date, NOW.timestamp())) == [state]


def test_versions_that_are_known_not_to_work_together_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(machine.check_versions()) == ["good"]
    installed = {"prefect": "3.8.8", "sqlalchemy": "2.1.9"}
    monkeypatch.setattr(machine, "version", lambda name: installed.get(name) or version(name))
    bad = list(machine.check_versions())
    assert [one.state for one in bad] == ["bad", "bad"]
    assert bad[0].what == "prefect 3.8.8 with sqlalchemy 2.1.9: its scheduler fails each minute, so no schedule ever runs"
    assert bad[1].what == "prefect 3.8.8, and <3.10,>=3.9.1 is asked for"


def test_a_disk_that_is_nearly_full_is_said(monkeypatch: pytest.MonkeyPatch, run_here: Command, tmp_path: Path) -> None:
    for free, state in ((1_000_000_000, "warning"), (1_000_000, "bad")):
        monkeypatch.setattr(machine, "LOW_BYTES", 10**18)
        monkeypatch.setattr(machine, "FULL_BYTES", 10**18 if state == "bad" else 0)
        assert {one for one, _ in found(run_here("doctor", "--json", PREFECT_HOME=str(tmp_path)), "disk")} == {state}, free


def test_doctor_stops_a_server_that_waits_for_the_next_build(run_here: Command, tmp_path: Path) -> None:
    done = run_here("doctor", "--stop-server", PREFECT_HOME=str(tmp_path))
    assert (done.code, done.out) == (0, "no server of ours runs\n")
    assert run_here("doctor", "--stop-server", "--json", PREFECT_HOME=str(tmp_path)).last == {"server": "none"}
