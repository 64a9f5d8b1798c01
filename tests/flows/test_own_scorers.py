"""A build with a scorer and a filter of one's own: what they say is in the rows, and decides everywhere."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support import Project

from convoforge.simulator.client import SimulatorControl

SCORERS = """
from convoforge.scoring import KEEP, FilterVerdict, Points, scorer

@scorer("calm", version={version})
def calm(conversation, context):
    lost = {lost} if context.emotion == "Fear" else 0
    return Points(10 - lost, 10, f"{{context.emotion}} costs {{lost}}" if lost else "")

@scorer("off-limits", version=1)
def off_limits(conversation, context):
    return FilterVerdict("drop", f"nothing on {{context.topic}}") if "market" in context.topic else KEEP
"""

NAMES = ["turns", "length", "structure", "own_scorers:calm", "own_scorers:off_limits"]


@pytest.fixture
def scoring(building: Project, simulator: SimulatorControl) -> Project:
    building.environment["ANTHROPIC_BASE_URL"] = simulator.url
    (building.folder / "convoforge.toml").touch()
    write(building, version=1, lost=4)
    return building


def write(project: Project, *, version: int, lost: int) -> None:
    (project.folder / "own_scorers.py").write_text(SCORERS.format(version=version, lost=lost))


def published(project: Project, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.data / "simulated" / name / "latest" / "data" / "*.parquet")


def run(project: Project, *arguments: str) -> Any:
    done = project.run(*arguments, "--json")
    assert done.code in (0, 3), done.out + done.err
    return done.last


def test_a_scorer_and_a_filter_named_in_a_spec_decide_everywhere(scoring: Project, simulator: SimulatorControl) -> None:
    scoring.spec("own", quality={"scorers": NAMES, "min_score": 1}, max_draws=1)
    built = run(scoring, "build", "own", "--simulate")
    assert (built["generated"], built["accepted"], built["dropped"], built["exhausted"]) == (8, 4, 4, 4)
    rows = published(scoring, "own")
    assert rows["topic"].unique().to_list() == ["retirement planning"]
    for row in rows.to_dicts():
        calm, off_limits = row["scorer_results"][3:]
        lost = 4 if row["emotion"] == "Fear" else 0
        assert (calm["points"], calm["maximum"], calm["reason"]) == (10 - lost, 10, f"Fear costs {lost}" if lost else "")
        assert (off_limits["verdict"], off_limits["points"]) == ("keep", None)
        parts = row["score_turns"] + row["score_length"] + row["score_structure"]
        assert row["score"] == max(1, (parts + 10 - lost + 1) // 2)
    beside = pl.read_parquet(scoring.data / "rejected" / "simulated" / "own" / "*.parquet")
    assert beside["status"].to_list() == ["dropped"] * 4
    assert {reasons[0] for reasons in beside["reasons"].to_list()} == {"off-limits: nothing on market volatility"}
    shown = run(scoring, "show", "own", "--rejected", "--simulated")
    assert {row["reason"] for row in shown["rows"]} == {"off-limits: nothing on market volatility"}
    costs = run(scoring, "costs", "--simulated")
    assert (costs["accepted"], costs["conversations"]) == (4, 8)

    # another version scores what is there again, for free, and makes another version of the dataset
    write(scoring, version=2, lost=10)
    again = run(scoring, "build", "own", "--simulate")
    assert (again["generated"], again["version"], again["published"]) == (0, 2, True)
    fearful = published(scoring, "own").filter(pl.col("emotion") == "Fear")
    assert {row["scorer_results"][3]["version"] for row in fearful.to_dicts()} == {2}
    assert {row["scorer_results"][3]["points"] for row in fearful.to_dicts()} == {0}
    assert run(scoring, "publish", "own", "--simulated")["unchanged"] is True
    assert simulator.usage()["requests"] == 8

    # without the filter its rows come back, also for free
    scoring.spec("own", quality={"scorers": NAMES[:4], "min_score": 1}, max_draws=1)
    free = run(scoring, "build", "own", "--simulate")
    assert (free["generated"], free["accepted"], free["version"]) == (0, 8, 3)
    assert run(scoring, "costs", "--simulated")["accepted"] == 8


@pytest.mark.long
def test_what_a_filter_drops_is_asked_for_again(scoring: Project) -> None:
    scoring.spec("refilled", quality={"scorers": NAMES, "min_score": 1}, max_draws=2)
    built = run(scoring, "build", "refilled", "--simulate")
    assert (built["generated"], built["accepted"], built["dropped"]) == (12, 4, 8)


@pytest.mark.long
def test_a_run_that_was_killed_before_it_scored_is_scored_by_the_next(scoring: Project, simulator: SimulatorControl) -> None:
    scoring.spec("killed", quality={"min_score": 1})
    run(scoring, "build", "killed", "--simulate")
    with sqlite3.connect(scoring.data / "ledger.db") as ledger:
        ledger.execute("UPDATE answers SET rubric = NULL, score = NULL, results = NULL")
    again = run(scoring, "build", "killed", "--simulate")
    assert (again["generated"], again["accepted"], again["published"]) == (0, 8, False)
    assert simulator.usage()["requests"] == 8


def test_a_scorer_that_fails_loses_no_answer(scoring: Project, simulator: SimulatorControl) -> None:
    path: Path = scoring.folder / "own_scorers.py"
    path.write_text(SCORERS.format(version=1, lost="1 // 0"))
    scoring.spec("broken", quality={"scorers": NAMES, "min_score": 1})
    done = scoring.run("build", "broken", "--simulate")
    assert done.code == 2
    assert "scorer 'calm' failed: ZeroDivisionError" in done.out + done.err
    with sqlite3.connect(scoring.data / "ledger.db") as ledger:
        (kept,) = ledger.execute("SELECT count(*) FROM answers WHERE turns IS NOT NULL").fetchone()
    assert kept == simulator.usage()["requests"] > 0
    write(scoring, version=1, lost=0)
    built = run(scoring, "build", "broken", "--simulate", "--limit", "1")
    assert built["accepted"] >= 1


def test_an_unknown_scorer_is_refused_before_anything_is_paid(scoring: Project, simulator: SimulatorControl) -> None:
    scoring.spec("unknown", quality={"scorers": ["turn"]})
    done = scoring.run("build", "unknown", "--simulate")
    assert done.code == 2
    assert "quality.scorers: unknown scorer 'turn'; did you mean 'turns'? Known: length, structure, turns." in done.out + done.err
    assert simulator.usage()["requests"] == 0
