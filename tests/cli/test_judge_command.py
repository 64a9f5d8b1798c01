"""`convoforge judge`: what is held is judged after all, and compared with reviews."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest
from support import Project

from convoforge.planning.keys import cell_key, draw_key
from convoforge.simulator.client import SimulatorControl

pytestmark = pytest.mark.server
EASY = {"rubric": "training", "min": dict.fromkeys(("persona", "emotion", "topic", "advice", "talk", "roles"), 1)}


@pytest.fixture
def held(project: Project, simulator: SimulatorControl) -> Project:
    """A dataset without a judge, whose spec has one now."""
    project.environment["ANTHROPIC_BASE_URL"] = simulator.url
    project.spec("held", quality={"min_score": 1}, per_cell=8)
    done = project.run("plan", "held", "--simulate", "--pilot", "64", "--json")
    assert done.code == 0, done.out + done.err
    return project


def add_judge(project: Project) -> str:
    """Give the spec a judge; its path."""
    return str(project.spec("held", quality={"min_score": 1, "judge": EASY}, per_cell=8))


@pytest.mark.long
def test_it_judges_what_is_held_and_says_how_far_reviews_agree(held: Project, simulator: SimulatorControl) -> None:
    refused = held.run("judge", "held", "--simulated")
    assert (refused.code, "has no judge: give it one" in refused.err) == (2, True)
    path = add_judge(held)
    first = held.run("judge", path, "--simulated", "--limit", "10", "--json").last
    assert (first["judged"], first["waiting"], first["calibration"]["calibrated"]) == (10, 54, False)
    rest = held.run("judge", path, "--simulated", "--json")
    assert rest.code == 0, rest.err
    assert (rest.last["judged"], rest.last["waiting"], rest.last["accepted"]) == (54, 0, 64)
    assert held.run("judge", path, "--simulated", "--json").last["judged"] == 0

    # a reviewer who accepts what has all points, and rejects the others
    with sqlite3.connect(held.data / "ledger.db") as ledger:
        rows = ledger.execute("SELECT request_id, attempt FROM answers WHERE kind = 'ok' ORDER BY request_id LIMIT 60").fetchall()
        at = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        for number, row in enumerate(rows):
            decision = "reject" if number % 10 == 0 else "accept"
            ledger.execute("INSERT INTO reviews (request_id, attempt, decision, at) VALUES (?, ?, ?, ?)", (*row, decision, at))
    compared = held.run("judge", path, "--simulated", "--calibrate", "--json").last["calibration"]
    assert (compared["pairs"], compared["agreement"], compared["calibrated"]) == (60, 0.9, False)
    assert {one["pairs"] for one in compared["criteria"].values()} == {60}
    shown = held.run("judge", path, "--simulated", "--calibrate").out
    assert "whole verdict" in shown and "The judge is not calibrated: agreement 90%, κ 0.00" in shown
    assert held.run("publish", path, "--simulated", "--allow-fewer", "--json").code == 0
    card = (held.data / "simulated" / "held" / "latest" / "README.md").read_text()
    assert "the judge is not calibrated: agreement 90%" in card


def test_a_real_one_asks_before_it_spends(held: Project, simulator: SimulatorControl) -> None:
    with sqlite3.connect(held.data / "ledger.db") as ledger:
        ledger.execute("UPDATE datasets SET provider = 'anthropic'")
        for row, draw, *values in ledger.execute(
            "SELECT id, draw, persona, emotion, topic, tier, template FROM requests"
        ).fetchall():
            cell = cell_key(
                "held", "anthropic", dict(zip(("persona", "emotion", "topic", "tier", "template"), values, strict=True))
            )
            ledger.execute("UPDATE requests SET cell = ?, draw_key = ? WHERE id = ?", (cell, draw_key(cell, draw), row))
    path, before = add_judge(held), simulator.usage()["requests"]
    done = held.run("judge", path, ANTHROPIC_API_KEY="sk-ant-nobody")
    assert done.code == 2
    assert "64 conversations with claude-haiku-5-5" in done.err
    assert "--yes answers it" in done.err
    assert simulator.usage()["requests"] == before
