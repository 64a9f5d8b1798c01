"""What is left of a run whose process is gone, in the ledger and in Prefect: nothing that is called Running."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import Project
from watching import free_port, prefect_home, wait_for

from convoforge.ledger.owners import UNEXPECTED_END
from convoforge.orchestration.dead_runs import HEARTBEAT_SECONDS, find_automation
from convoforge.orchestration.local_server import use_server
from convoforge.orchestration.server_api import ask
from convoforge.orchestration.server_home import AUTH
from convoforge.simulator.client import SimulatorControl
from deployments.local_worker import make_environment

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Prefect folder and a usual port of one's own."""
    folder = prefect_home(tmp_path / "prefect")
    monkeypatch.setenv("PREFECT_HOME", str(folder))
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(free_port()))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return folder


def test_the_automation_knows_our_flows_and_words_and_a_worker_sets_the_heartbeats() -> None:
    ours = find_automation()
    declared = set(re.findall(r'@flow\(name="([a-z-]+)"', "".join(path.read_text() for path in (ROOT / "flows").glob("*.py"))))
    assert {*ours["trigger"]["match_related"]["prefect.resource.name"]} == declared
    assert ours["actions"][0]["message"] == UNEXPECTED_END
    template = yaml.safe_load((ROOT / "deployments" / "job-template.json").read_text())
    assert "env" not in template["job_configuration"]  # it would take in what a run brings
    assert make_environment({})["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_SECONDS)


@pytest.mark.long
def test_a_run_that_is_killed_is_dead_in_status_at_once_and_crashed_in_prefect_soon(
    home: Path, project: Project, slow_simulator: SimulatorControl
) -> None:
    project.spec("killed", per_cell=8, limits={"max_requests": 100_000, "concurrency": 2})
    with use_server() as server:
        auth = os.environ[AUTH]
        ours = find_automation()
        ask(server.url, auth, "/automations/", {**ours, "trigger": {**ours["trigger"], "within": 10}})
        build = project.start("build", "killed", "--simulate", "--json", ANTHROPIC_BASE_URL=slow_simulator.url)
        wait_for(lambda: slow_simulator.usage()["requests"] >= 2, "calls in flight")
        build.kill()
        build.communicate()
        [told] = project.run("status", "--json").last["runs"]
        assert told["state"] == "failed"
        assert told["message"].startswith("the process ended unexpectedly: killed")

        def crashed() -> Any:
            [run] = ask(server.url, auth, "/flow_runs/filter", {})
            return run if run["state"]["type"] == "CRASHED" else None

        assert wait_for(crashed, "the run that is marked", 90)["state"]["message"] == UNEXPECTED_END


@pytest.mark.long
def test_a_server_that_ends_with_its_build_leaves_no_task_run_running(
    home: Path, project: Project, simulator: SimulatorControl
) -> None:
    project.spec("short-lived", per_cell=4, budget={"run_usd": 0.15})
    done = project.run(
        "build", "short-lived", "--simulate", "--json", ANTHROPIC_BASE_URL=simulator.url, CONVOFORGE_SERVER_IDLE_SECONDS="0"
    )
    assert (done.code, done.last["state"]) == (3, "partial"), done.err
    with sqlite3.connect(home / "prefect.db") as connection:
        states = dict(connection.execute("SELECT state_type, count(*) FROM task_run GROUP BY state_type").fetchall())
        assert connection.execute("SELECT name FROM automation").fetchall() == [("convoforge-dead-runs",)]
    assert not {"RUNNING", "PENDING"} & states.keys(), states
    assert sum(states.values()) >= done.last["generated"] + 3
