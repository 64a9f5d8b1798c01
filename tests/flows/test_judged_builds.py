"""A build with a judge: what it reads, what that costs, what it decides; and that no judgment is paid for twice."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from support import Project
from watching import wait_for

from convoforge.simulator.client import SimulatorControl

HAIKU = "claude-haiku-5-5"
JUDGED = {"min_score": 1, "filters": ["default"], "judge": {"rubric": "training"}}
PASSES_ALL: dict[str, Any] = {
    **JUDGED,
    "judge": {"rubric": "training", "min": dict.fromkeys(("persona", "emotion", "topic", "advice", "talk", "roles"), 1)},
}


@pytest.fixture
def judging(building: Project, simulator: SimulatorControl) -> Project:
    building.environment["ANTHROPIC_BASE_URL"] = simulator.url
    return building


def run(project: Project, *arguments: str) -> Any:
    done = project.run(*arguments, "--json")
    assert done.code in (0, 3), done.out + done.err
    return done.last


def count_asked(simulator: SimulatorControl, kind: str = "billed_delivered") -> int:
    """How many of the judge's answers were billed."""
    usage = simulator.usage()
    models = (usage[kind]["models"], usage["batch"][kind]["models"])
    return sum(one.get(HAIKU, {"requests": 0})["requests"] for one in models)


def read(project: Project, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(project.data / "ledger.db") as ledger:
        return ledger.execute(query).fetchall()


def published(project: Project, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.data / "simulated" / name / "latest" / "data" / "*.parquet")


def test_what_would_be_accepted_is_judged_once_and_the_judge_decides(judging: Project, simulator: SimulatorControl) -> None:
    judging.spec("judged", quality=JUDGED, per_cell=4, max_draws=4)
    planned = run(judging, "plan", "judged", "--simulate")
    assert (planned["judge"]["model"], planned["judge"]["requests_expected"]) == (HAIKU, 32)
    assert float(planned["estimated_cost_usd"]) > float(planned["judge"]["estimated_cost_usd"]) > 0
    built = run(judging, "build", "judged", "--simulate")
    assert (built["accepted"], built["unjudged"], built["state"]) == (32, 0, "completed")
    judged = count_asked(simulator)
    [(registered,)] = read(judging, "SELECT count(*) FROM requests WHERE purpose = 'judge'")
    assert built["judged"] == judged == registered >= 32
    below = read(judging, "SELECT count(*) FROM answers WHERE rejection = 'revise' AND results LIKE '%points, % needed%'")
    assert judged == 32 + below[0][0], "each conversation once; what is below is replaced"
    for row in published(judging, "judged").to_dicts():
        points = {
            one["name"]: (one["points"], one["verdict"]) for one in row["scorer_results"] if one["name"].startswith("judge.")
        }
        assert [*points] == [f"judge.{name}" for name in ("persona", "emotion", "topic", "advice", "talk", "roles")]
        assert {verdict for _, verdict in points.values()} == {"keep"}
    notes = " ".join(built["notes"])
    assert (
        f"judged by {HAIKU} with the rubric 'training'; the judge is not calibrated: it has judged 0 reviewed conversations"
        in notes
    )
    card = (judging.data / "simulated" / "judged" / "latest" / "README.md").read_text()
    assert "the judge is not calibrated" in card

    # its cost stands on lines of its own, and adds up
    costs = run(judging, "costs", "--simulated", "--by", "purpose")
    groups = costs["groups"]
    assert (costs["judge"]["attempts"], costs["accepted"]) == (judged, 32)
    assert groups["judge"]["attempts"] == judged
    assert costs["judge"]["cost_usd"] == groups["judge"]["total_cost_usd"] == built["judge_cost_usd"].rstrip("0")
    both = sum(float(groups[name]["total_cost_usd"]) for name in ("conversation", "judge"))
    assert both == pytest.approx(float(built["cost_usd"])) == pytest.approx(float(costs["total_cost_usd"]))
    assert float(costs["cost_per_accepted_usd"]) == pytest.approx(both / 32)
    accounted = float(costs["judge"]["cost_usd"]) + float(costs["waste"]["dropped"]["cost_usd"])
    assert both - accounted > 0

    # another dataset's estimate goes by what was measured, before it has anything
    usage = simulator.usage()["billed_delivered"]["models"][HAIKU]
    judging.spec("another", quality=JUDGED)
    expected = run(judging, "plan", "another", "--simulate")["judge"]
    assert expected["output_tokens"] / expected["requests_expected"] == pytest.approx(usage["output_tokens"] / judged, rel=0.02)

    # nothing is judged twice; other points that are needed, or another action, cost nothing
    assert run(judging, "build", "judged", "--simulate")["generated"] == 0
    read(judging, "UPDATE answers SET rubric = NULL, score = NULL, results = NULL, rejection = NULL RETURNING 1")
    again = run(judging, "build", "judged", "--simulate")
    assert (again["generated"], again["published"], again["accepted"]) == (0, False, 32)
    judging.spec("judged", quality=PASSES_ALL, per_cell=4, max_draws=4)
    lenient = run(judging, "build", "judged", "--simulate")
    assert (lenient["generated"], lenient["judged"], lenient["accepted"]) == (0, 0, 32)
    assert count_asked(simulator) == judged


@pytest.mark.long
def test_an_answer_that_does_not_count_is_asked_for_once_more_and_then_marked(
    judging: Project, simulator: SimulatorControl
) -> None:
    judging.spec("odd", quality=PASSES_ALL)
    simulator.script("wrong_roles", "prose", "refusal", "ok", match="You judge one conversation")
    built = run(judging, "build", "odd", "--simulate")
    assert (built["accepted"], built["judged"], count_asked(simulator)) == (8, 11, 11)
    assert published(judging, "odd")["flags"].list.len().sum() == 0
    simulator.script(*["prose"] * 4, match="You judge one conversation")
    judging.spec(
        "worse", quality=PASSES_ALL, axes={"persona": ["a"], "emotion": ["b"], "topic": ["c", "d"], "tier": ["template"]}
    )
    marked = run(judging, "build", "worse", "--simulate")
    assert (marked["accepted"], marked["judged"]) == (2, 4)
    assert published(judging, "worse")["flags"].to_list() == [["judge"], ["judge"]]


@pytest.mark.long
def test_a_budget_holds_for_the_judge_too_and_the_next_build_goes_on(judging: Project) -> None:
    dear = {**PASSES_ALL, "judge": {**PASSES_ALL["judge"], "model": "claude-sonnet-5-5"}}  # one call may cost more than is left
    judging.spec("short", quality=dear, budget={"run_usd": 0.15}, limits={"max_requests": 100_000, "concurrency": 1})
    ended = run(judging, "build", "short", "--simulate")
    assert ended["state"] == "partial" and "run budget reached" in ended["message"]
    assert (ended["generated"], ended["accepted"] + ended["unjudged"]) == (8, 8)
    assert ended["unjudged"] > 0
    assert float(ended["cost_usd"]) <= 0.15
    judging.spec("short", quality=dear)
    rest = run(judging, "build", "short", "--simulate")
    assert (rest["generated"], rest["accepted"], rest["unjudged"], rest["judged"]) == (0, 8, 0, ended["unjudged"])


@pytest.mark.long
def test_in_message_batches_the_judge_is_asked_in_message_batches(judging: Project, simulator: SimulatorControl) -> None:
    judging.spec("batched", quality=PASSES_ALL, mode="batch")
    built = run(judging, "build", "batched", "--simulate")
    assert (built["accepted"], built["judged"], built["unjudged"]) == (8, 8, 0)
    usage = simulator.usage()
    assert usage["requests"] == 0
    assert usage["batch"]["billed_delivered"]["models"][HAIKU]["requests"] == 8
    costs = run(judging, "costs", "--simulated", "--by", "purpose")
    assert (costs["batch"]["attempts"], costs["judge"]["attempts"]) == (16, 8)


@pytest.mark.long
def test_a_judge_that_lets_nothing_pass_stops_the_run(judging: Project, simulator: SimulatorControl) -> None:
    strict = {
        **JUDGED,
        "judge": {"rubric": "training", "min": {"talk": 5, "roles": 5, "topic": 5, "advice": 5, "persona": 5, "emotion": 5}},
    }
    judging.spec("strict", quality=strict, per_cell=15, max_draws=3)
    built = run(judging, "build", "strict", "--simulate")
    assert built["state"] == "partial"
    assert "hardly anything is accepted" in built["message"]
    assert count_asked(simulator) < 200


def test_a_model_that_nobody_knows_is_refused_before_anything_is_paid(judging: Project, simulator: SimulatorControl) -> None:
    judging.spec("unknown", quality={**JUDGED, "judge": {"rubric": "training", "model": "claude-haiku-9"}})
    done = judging.run("build", "unknown", "--simulate")
    assert done.code == 2
    assert "claude-haiku-9" in done.err
    assert simulator.usage()["requests"] == 0


@pytest.mark.long
def test_judgments_that_were_recorded_before_a_kill_are_not_paid_again(
    judging: Project, slow_simulator: SimulatorControl, start_build: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_build("killed", quality=PASSES_ALL, per_cell=2, limits={"max_requests": 100_000, "concurrency": 2})
    wait_for(lambda: count_asked(slow_simulator) >= 4 or process.poll() is not None, "answers of the judge", seconds=60)
    assert process.poll() is None and count_asked(slow_simulator) < 16, "it ended before it could be killed"
    process.kill()
    process.communicate()
    judging.environment["ANTHROPIC_BASE_URL"] = slow_simulator.url
    rest = run(judging, "build", "killed", "--simulate")
    assert (rest["accepted"], rest["unjudged"]) == (16, 0)
    asked = slow_simulator.usage()["requests"]
    [(lost,)] = read(judging, "SELECT count(*) FROM generation_logs WHERE status = 'lost'")
    assert lost <= 2
    assert asked == 32 + lost
