"""`convoforge status`: a run is seen while it goes on, when it was killed, and when it never began; in 80 columns."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from recorded import NOW
from support import Done, Project
from watching import wait_for

from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.failed_starts import keep_failed_start
from convoforge.ledger.runs import begin_run, ensure_dataset, hold_run
from convoforge.planning.spec import DatasetSpec
from convoforge.simulator.client import SimulatorControl


@pytest.fixture
def watched(project: Project, prefect_server: str) -> Project:
    project.environment |= {"PREFECT_API_URL": prefect_server, "COLUMNS": "80"}
    return project


@pytest.mark.long
def test_a_run_is_seen_while_it_goes_on_when_it_was_killed_and_to_its_end(
    watched: Project, run_here: Callable[..., Done], slow_simulator: SimulatorControl
) -> None:
    def latest() -> Any:
        runs = run_here("status", "--json").last["runs"]
        return runs[0] if runs else {}

    limits = {"max_requests": 6_000, "window_seconds": 60, "concurrency": 1}
    watched.spec("seen", per_cell=6, limits=limits)
    build = watched.start("build", "seen", "--simulate", "--json", ANTHROPIC_BASE_URL=slow_simulator.url)
    going = wait_for(lambda: (run := latest()).get("generated", 0) >= 2 and run, "answers", 180)
    assert (going["state"], going["dataset"]) == ("running", "seen")
    assert going["rate"].endswith("of 6,000 requests in the last minute")
    assert int(going["rate"].split()[0]) >= 2
    assert re.search(r"of 48 done, \$0\.\d+ of \$5\.00, \d+ of 6,000 requests in the last minute", run_here("status").out)
    one = run_here("status", going["run_id"][:8]).out
    assert "running: " in one and "of 48 planned" in one and "full, " in one and "requests in the last" in one

    watching = watched.start("status", going["run_id"], "--watch")
    build.send_signal(signal.SIGKILL)
    build.communicate()
    told, _ = watching.communicate(timeout=60)
    assert watching.returncode == 1
    assert "the process ended unexpectedly" in " ".join(told.split())
    listed = watched.run("status").out.splitlines()
    assert max(len(line.rstrip()) for line in listed[1:]) <= 80  # the first is a path, to be copied
    assert any(line.startswith(f"{going['run_id'][:8]}  seen ") for line in listed)
    dead = latest()
    assert (dead["state"], dead["generated"] >= 2, float(dead["cost_usd"]) > 0) == ("failed", True, True)

    watched.spec("seen", per_cell=6, limits={**limits, "concurrency": 8})
    build = watched.start("build", "seen", "--simulate", "--json", ANTHROPIC_BASE_URL=slow_simulator.url)
    again = wait_for(lambda: (run := latest())["run_id"] != dead["run_id"] and run, "another run", 180)
    ended = watched.run("status", again["run_id"], "--watch", "--json")
    assert (ended.code, ended.last["state"], ended.last["accepted"]) == (0, "completed", 48)
    assert ended.last["cells"] == {"cells": 8, "full": 8, "short": 0, "exhausted": 0, "wanted": 48}
    assert build.wait(60) == 0
    shown = watched.run("status", again["run_id"]).out
    assert "8 of 8 full, 0 short, 0 out of draws" in shown
    assert "; at most 6,000 requests in 60 s" in shown and " of $5.00; estimated $0." in shown
    killed = watched.run("errors", dead["run_id"][:8]).out
    assert "maybe billed: the process ended during the call" in killed


def test_a_conversation_that_cannot_be_asked_for_leaves_no_run(run_here: Callable[..., Done]) -> None:
    wrong = run_here("generate", "--simulate", "--persona", "a", "--emotion", "b", "--topic", "c", "--tier", "nope")
    assert (wrong.code, wrong.err) == (2, "convoforge: template 'advice' serves template, not the tier 'nope'\n")
    assert "No runs yet" in run_here("status").out


def test_a_build_that_failed_before_it_began_is_a_failed_run(
    watched: Project, run_here: Callable[..., Done], simulator: SimulatorControl
) -> None:
    watched.spec("early")
    assert run_here("build", "early", "--simulate", "--json", ANTHROPIC_BASE_URL="http://127.0.0.1:1").code == 1
    assert run_here("build", "early").code == 2  # without a key
    watched.spec("wrong", templates=["advise"])
    assert run_here("build", "wrong", "--simulate").code == 2
    watched.spec("key")
    assert run_here("build", "key", "--yes", ANTHROPIC_BASE_URL=simulator.url, ANTHROPIC_API_KEY="sk-ant-of-nobody").code == 1
    runs = run_here("status", "--json").last["runs"]
    assert (runs[0]["dataset"], runs[0]["provider"], runs[0]["state"]) == ("key", "anthropic", "failed")
    assert "simulator" in runs.pop(0)["message"]  # who answered is not who was asked for
    assert [(run["dataset"], run["provider"], run["state"], run["generated"]) for run in runs] == [
        ("wrong", "simulator", "failed", 0),
        ("early", "anthropic", "failed", 0),
        ("early", "simulator", "failed", 0),
    ]
    assert "unknown template 'advise'" in runs[0]["message"]
    assert "no API key" in runs[1]["message"]
    assert "127.0.0.1:1" in runs[2]["message"]
    shown = run_here("status", runs[0]["run_id"][:8])
    assert shown.code == 0 and "unknown template 'advise'" in " ".join(shown.out.split())


def test_a_run_that_waits_for_approval_is_listed_with_the_command_that_answers_it(
    project: Project, run_here: Callable[..., Done]
) -> None:
    def hold(run: str) -> None:
        ledger.write(hold_run, run, run, spec, "simulator", f"$9 is above $5: convoforge approve {run}", NOW)

    def states() -> dict[str, str]:
        return {run["run_id"]: run["state"] for run in run_here("status", "--json").last["runs"]}

    project.spec("dear")
    spec = DatasetSpec(
        name="dear",
        model="claude-sonnet-5-5",
        templates=["advice"],
        axes={"persona": ["a"], "emotion": ["b"], "topic": ["c"], "tier": ["template"]},
    )
    url = f"sqlite:///{project.data / 'ledger.db'}"
    assert run_here("plan", "dear").code == 0  # makes the ledger
    with Ledger(url) as ledger:
        hold("first")
        hold("first")  # its estimate has grown
        shown = run_here("status").out
        assert re.search(r"^first +dear +waiting ", shown, re.MULTILINE)
        assert "simulated: $9 is above $5: convoforge approve first" in shown
        assert "waiting: $9 is above" in run_here("status", "first").out
        hold("second")  # so the first one was cancelled in Prefect
        assert states() == {"first": "partial", "second": "waiting"}
        with pytest.raises(ConfigError), keep_failed_start(url, spec, "simulator", "second"):
            raise ConfigError("no API key")
        assert states()["second"] == "failed"
        hold("third")
        dataset = ledger.write(ensure_dataset, "dear", "simulator", NOW)
        ledger.write(begin_run, "third", dataset, spec, "nobody", "third", NOW)  # approved; its process is gone
        assert states() == {"first": "partial", "second": "failed", "third": "failed"}
