"""A build from the command line: from a spec to rows that train, and a second one that has nothing left to do."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from typing import Any

import pytest
from support import Project

from convoforge.simulator.client import SimulatorControl

REPORT = {
    "run_id", "dataset", "version", "path", "provider", "planned", "held", "generated", "accepted", "needs_revision", "dropped",
    "failed", "pending", "stale", "exhausted", "cost_usd", "seconds", "state",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _shared_prefect(project: Project, prefect_server: str) -> None:
    project.environment["PREFECT_API_URL"] = prefect_server


def build(project: Project, simulator: SimulatorControl, name: str, *arguments: str) -> Any:
    done = project.run("build", name, "--simulate", "--json", *arguments, ANTHROPIC_BASE_URL=simulator.url)
    assert done.code in (0, 3), done.err
    return done.last


def messages(path: str) -> dict[str, list[dict[str, str]]]:
    """conversation id → messages, of every split of a version."""
    from datasets import load_dataset

    splits = load_dataset(path)
    return {row["conversation_id"]: row["messages"] for rows in splits.values() for row in rows}


def ledger_rows(project: Project, query: str) -> list[Any]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def test_a_spec_becomes_rows_that_train_and_a_second_build_does_nothing(project: Project, simulator: SimulatorControl) -> None:
    project.spec("small")
    first = build(project, simulator, "small")
    assert set(first) >= REPORT
    assert (first["provider"], first["planned"], first["accepted"], first["state"]) == ("simulator", 8, 8, "completed")
    assert first["path"] == str(project.data / "versions" / "simulated" / "small" / "v0001")
    rows = messages(str(project.data / "simulated" / "small" / "latest"))
    assert len(rows) == 8
    for turns in rows.values():
        roles = [turn["role"] for turn in turns]
        roles = roles[1:] if roles[0] == "system" else roles
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(turn["content"].strip() for turn in turns)
    billed = simulator.usage()
    second = build(project, simulator, "small")
    assert (second["generated"], second["cost_usd"], second["version"], second["published"]) == (0, "0.00", 1, False)
    assert second["held"] == 8
    assert simulator.usage() == billed


@pytest.mark.long
def test_the_costs_are_what_the_simulator_billed(project: Project, simulator: SimulatorControl) -> None:
    project.spec(
        "costs", axes={"persona": ["A", "B", "C"], "emotion": ["Fear", "Calm"], "topic": ["x", "y"], "tier": ["template"]}
    )
    simulator.script(
        "529", "500", "prose", "truncation", "refusal", "wrong_roles", {"kind": "429", "retry_after": 1}, "broken_json"
    )
    report = build(project, simulator, "costs")
    costs = project.run("costs", "--json", "--simulated").last
    usage = simulator.usage()
    billed = usage["billed_delivered"]
    assert costs["input_tokens"] == billed["input_tokens"]
    assert costs["output_tokens"] == billed["output_tokens"]
    assert costs["total_cost_usd"] == report["cost_usd"]
    assert costs["succeeded"] == report["generated"]
    assert costs["accepted"] == report["accepted"] == 12
    assert report["dropped"] == 4
    assert project.run("costs", "--json").last["attempts"] == 0


@pytest.mark.long
def test_killed_in_the_middle_the_next_build_ends_with_the_same_dataset(
    project: Project, slow_simulator: SimulatorControl
) -> None:
    project.spec("undisturbed", per_cell=3)
    calm = messages(build(project, slow_simulator, "undisturbed")["path"])
    project.spec("undisturbed", per_cell=3)  # the same spec in another project's folder: the same draws
    project.environment["CONVOFORGE_DATA_DIR"] = str(project.folder / "second")
    process = project.start("build", "undisturbed", "--simulate", "--json", ANTHROPIC_BASE_URL=slow_simulator.url)
    database = project.folder / "second" / "ledger.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (
            database.exists()
            and sqlite3.connect(database).execute("SELECT count(*) FROM sqlite_master WHERE name='answers'").fetchone()[0]
        ):
            if sqlite3.connect(database).execute("SELECT count(*) FROM answers").fetchone()[0] >= 5:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    held = sqlite3.connect(database).execute("SELECT count(*) FROM answers").fetchone()[0]
    assert 5 <= held < 24
    resumed = build(project, slow_simulator, "undisturbed")
    assert resumed["held"] <= held
    after = messages(resumed["path"])
    assert after == calm
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) - count(DISTINCT request_id) FROM answers").fetchone() == (0,)
        lost = connection.execute("SELECT count(*) FROM generation_logs WHERE status = 'lost'").fetchone()[0]
        assert lost <= 8  # no more than were in flight


def test_ctrl_c_drains_what_is_paid_and_says_how_to_go_on(project: Project, slow_simulator: SimulatorControl) -> None:
    project.spec(
        "stopped", per_cell=6, axes={"persona": ["A"], "emotion": ["Fear", "Calm"], "topic": ["x", "y"], "tier": ["template"]}
    )
    process = project.start("build", "stopped", "--simulate", "--json", ANTHROPIC_BASE_URL=slow_simulator.url)
    deadline = time.monotonic() + 60
    while slow_simulator.usage()["requests"] < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    report = json.loads(out.splitlines()[-1])
    assert process.returncode == 3, err
    assert report["state"] == "partial"
    assert "Ctrl-C" in report["message"]
    assert report["generated"] == slow_simulator.usage()["billed_delivered"]["requests"]
    assert ledger_rows(project, "SELECT count(*) FROM generation_logs WHERE status <> 'succeeded'") == [(0,)]
    assert ledger_rows(project, "SELECT count(*) FROM requests WHERE state = 'claimed'") == [(0,)]
    assert ledger_rows(project, "SELECT count(*) FROM owners") == [(0,)]
    rest = build(project, slow_simulator, "stopped")
    assert rest["accepted"] == 24


@pytest.mark.long
def test_a_budget_ends_the_run_short_and_nothing_goes_over_it(project: Project, simulator: SimulatorControl) -> None:
    project.spec("budget", per_cell=4, budget={"run_usd": 0.2})
    done = project.run("build", "budget", "--simulate", "--json", ANTHROPIC_BASE_URL=simulator.url)
    assert done.code == 3
    assert done.last["state"] == "partial"
    assert "budget reached" in done.last["message"]
    assert 0 < float(done.last["cost_usd"]) <= 0.2
    more = build(project, simulator, "budget", "--budget", "5")
    assert more["accepted"] == 32


@pytest.mark.long
def test_a_stale_draw_is_kept_until_a_refresh_is_asked_for(project: Project, simulator: SimulatorControl) -> None:
    project.spec("stale")
    build(project, simulator, "stale")
    template = project.folder / "configs" / "templates" / "advice.yaml"
    text = template.read_text()
    template.write_text(f"# a comment\n{text}")
    assert build(project, simulator, "stale")["stale"] == 0
    template.write_text(text.replace("system: |\n", "system: |\n  Mind the user's time.\n", 1))
    kept = build(project, simulator, "stale")
    assert (kept["stale"], kept["generated"], kept["version"]) == (8, 0, 1)
    plan = project.run("plan", "stale", "--simulate", "--json").last
    assert plan["stale"] == 8
    assert float(plan["refresh_cost_usd"]) > 0
    fresh = build(project, simulator, "stale", "--refresh")
    assert (fresh["stale"], fresh["version"], fresh["accepted"]) == (0, 2, 8)
    assert fresh["generated"] >= 8


@pytest.mark.long
def test_a_new_threshold_is_published_without_paying(project: Project, simulator: SimulatorControl) -> None:
    project.spec("threshold", quality={"min_score": 1}, per_cell=4, max_draws=1)
    simulator.script("short", "short", "short")
    before = build(project, simulator, "threshold")
    billed = simulator.usage()
    folder = project.data / "versions" / "simulated" / "threshold"
    behind = project.run("publish", "threshold", "--simulated", "--min-score", "7", "--json").last
    assert (behind["version"], behind["latest_version"], behind["load_path"]) == (2, 1, str(folder / "v0002"))
    built = project.run("build", "threshold", "--simulate", "--min-score", "7", ANTHROPIC_BASE_URL=simulator.url)
    assert "latest stays at version 1, NOT version 2" in " ".join(built.out.split())
    assert f'load_dataset("{folder}/v0002", split="train")' in built.out, "what is printed loads the rows of today"
    done = project.run("publish", "threshold", "--simulated", "--min-score", "7", "--allow-fewer", "--json")
    assert (done.last["latest_version"], done.last["load_path"]) == (2, str(project.data / "simulated" / "threshold" / "latest"))
    assert done.code == 0, done.err
    assert done.last["version"] == 2
    assert done.last["rows"] < before["accepted"]
    assert done.last["needs_revision"] > before["needs_revision"]
    assert simulator.usage() == billed
    import polars

    revise = polars.read_parquet(project.data / "rejected" / "simulated" / "threshold" / "v0002.parquet")
    assert all("below 7" in reasons[0] for reasons in revise["reasons"])


def test_the_api_key_is_nowhere(project: Project, simulator: SimulatorControl) -> None:
    project.spec("secret")
    secret = "sk-sim-wrong-9f8e7d6c5b4a"
    done = project.run("build", "secret", "--yes", ANTHROPIC_BASE_URL=simulator.url, ANTHROPIC_API_KEY=secret)
    assert done.code == 1
    assert secret not in done.out + done.err
    for path in project.data.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
