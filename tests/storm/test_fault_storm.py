"""Everything that can go wrong with a call goes wrong at once, in three calls of ten: the run ends, and the costs are right."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storm.conftest import AXES, limits, reconcile
from storm.reconciliation import conversations
from support import Project

from convoforge.simulator.client import SimulatorControl

StartBuild = Callable[..., subprocess.Popen[str]]

STORM = {
    **dict.fromkeys(("429", "500", "529", "408", "504", "reset", "html", "broken_json"), 0.025),
    **dict.fromkeys(("truncation", "refusal", "prose", "wrong_roles"), 0.022),
    "hang": 0.012,
}
"""30 % in all."""

FEW = (
    {"kind": "429", "retry_after": 1},
    "hang",
    "reset",
    "html",
    "408",
    "504",
    "529",
    "500",
    "truncation",
    "refusal",
    "prose",
    "wrong_roles",
)
"""One of each to begin with, so that a short storm has all of them."""

WEATHER = {
    "limits": limits(),
    "retry": {
        "base_delay_seconds": 0.05,
        "jitter_seconds": 0.05,
        "timeout_seconds": 6,
        "max_attempts": 2,
        "patience_seconds": 30,
    },
    "budget": {"run_usd": 50},
}


def weather(build: Callable[..., subprocess.Popen[str]], server: SimulatorControl, seconds: float) -> dict[str, Any]:
    process = build("storm", server.url)
    out, err = process.communicate(timeout=seconds)
    assert process.returncode in (0, 3), out + err
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    return report


def in_order(project: Project, server: SimulatorControl, report: dict[str, Any]) -> None:
    """Each request has ended accepted, dropped or pending, with its reason, and the dataset is what the ledger says."""
    reconciliation = reconcile(project.data, server)
    reconciliation.check()
    states = {row["state"]: row["n"] for row in reconciliation.rows("SELECT state, count(*) AS n FROM requests GROUP BY state")}
    assert set(states) <= {"held", "pending"}
    assert states.get("pending", 0) == report["pending"] == report["failed"]
    assert report["accepted"] + report["needs_revision"] + report["dropped"] + report["pending"] == sum(states.values())
    assert len(conversations(Path(report["path"]))) == report["accepted"]
    costs = reconciliation.check_costs(project)
    assert costs["total_cost_usd"] == report["cost_usd"]
    assert costs["accepted"] == report["accepted"]


def test_a_storm_of_faults_ends_with_every_request_accounted_for(
    building: Project, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    server = serve(latency_ms=20, fault_rate=STORM, seed=5)
    server.script(*FEW)
    building.spec("storm", axes=AXES, per_cell=2, **WEATHER)
    in_order(building, server, weather(start_build, server, 120))
    assert {"429", "500", "529", "408", "504", "reset", "hang", "html", "truncation", "refusal", "prose", "wrong_roles"} <= set(
        server.usage()["outcomes"]
    )


@pytest.mark.long
def test_a_thousand_requests_in_a_storm(
    building: Project, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    server = serve(latency_ms=100, jitter_ms=50, fault_rate=STORM, seed=6)
    server.script(*FEW * 5)
    building.spec("storm", axes=AXES, per_cell=17, **{**WEATHER, "limits": limits(50)})
    report = weather(start_build, server, 280)
    in_order(building, server, report)
    assert server.usage()["requests"] > 1_000
    assert report["accepted"] > 900
