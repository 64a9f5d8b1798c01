"""A build of which hardly anything is accepted stops by itself, says why, and does so again at the price of fifty answers."""

from __future__ import annotations

from typing import Any

import pytest
from support import Project

from convoforge.generation.recent_answers import LOOK_BACK
from convoforge.simulator.client import SimulatorControl

MAX_MORE = 8 + 8 // 2
"""What is in flight when a run stops, and what is ready to be sent: half of that at most."""


@pytest.fixture
def many_cells(building: Project, simulator: SimulatorControl) -> dict[str, Any]:
    building.environment["ANTHROPIC_BASE_URL"] = simulator.url
    personas = ["Anxious Investor", "Confident Advisor"]
    return {
        "persona": personas,
        "emotion": ["Fear", "Calm"],
        "topic": [f"retirement at {age}" for age in range(40, 70)],
        "tier": ["template"],
    }


def test_a_build_stops_with_the_leading_reasons_instead_of_drawing_every_cell_three_times(
    building: Project, simulator: SimulatorControl, many_cells: dict[str, Any]
) -> None:
    building.spec("hardly", axes=many_cells)
    simulator.script(*["short"] * 400)
    done = building.run("build", "hardly", "--simulate", "--json")
    assert (done.code, done.last.get("state")) == (3, "partial"), done.out + done.err
    assert LOOK_BACK <= done.last["generated"] <= LOOK_BACK + MAX_MORE
    assert "hardly anything is accepted, 0 of the last 50 answers: score 5 is below 6 (" in done.last["message"]
    assert "`convoforge show hardly --rejected --simulated` prints them" in done.last["message"]
    seen = building.run("show", "hardly", "--rejected", "--simulated", "--json")
    assert seen.last["rejected"] == done.last["generated"]
    assert all("is below 6" in row["reason"] for row in seen.last["rows"])
    assert "not accepted: score" in building.run("show", "hardly", "--rejected", "--simulated").out
    again = building.run("build", "hardly", "--simulate", "--json")
    assert (again.code, again.last.get("state")) == (3, "partial"), again.out + again.err
    assert LOOK_BACK <= again.last["generated"] <= LOOK_BACK + MAX_MORE
    assert simulator.usage()["requests"] == done.last["generated"] + again.last["generated"]


@pytest.mark.long
def test_answers_that_batches_bring_are_counted_as_they_are_collected(
    building: Project, simulator: SimulatorControl, many_cells: dict[str, Any]
) -> None:
    building.spec("batched", axes=many_cells)
    simulator.script(*["prose"] * 400)
    done = building.run("build", "batched", "--simulate", "--batch", "--json")
    assert (done.code, done.last.get("state")) == (3, "partial"), done.out + done.err
    assert done.last["generated"] == 120, "the first round, which was paid when it was handed over, and no other"
    assert "0 of the last 50 answers: no JSON conversation found in the answer (50)" in done.last["message"]


@pytest.mark.long
def test_a_build_of_fewer_answers_is_not_stopped(
    building: Project, simulator: SimulatorControl, many_cells: dict[str, Any]
) -> None:
    building.spec("few", axes={**many_cells, "topic": many_cells["topic"][:4]}, max_draws=3)
    simulator.script(*["short"] * 400)
    done = building.run("build", "few", "--simulate", "--json")
    assert done.last["generated"] == 48
    assert "16 cells are out of draws" in done.last["message"]
