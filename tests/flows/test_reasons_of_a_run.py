"""One run that meets everything: its reasons stand in `errors`, `status`, `costs`, the card, the manifest and the rejected file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from prefect.client.schemas.objects import State
from support import Done, Project

from convoforge.simulator.client import SimulatorControl

REFUSED = "the API refused the request (400): The request is not valid."


def test_everything_that_a_run_met_is_told_everywhere(
    run_build: Callable[..., State[Any]], building: Project, run_here: Callable[..., Done], simulator: SimulatorControl
) -> None:
    building.spec("met", per_cell=2, max_draws=1, limits={"max_requests": 100_000, "concurrency": 1})
    simulator.script("400", "400", "short", "refusal", "prose", "500", *["ok"] * 20)
    report = run_build(spec="met", simulate=True).data
    report = getattr(report, "result", report)
    low, good = report.needs_revision, report.accepted  # the simulator writes some short ones by itself
    assert (low >= 1, report.dropped, report.refused, good + low) == (True, 4, 2, 12)

    told = run_here("errors", report.run_id, "--json").last["reasons"]
    assert [(one["what"], one["count"]) for one in told] == [
        ("refused", 2),
        ("needs revision", low),
        ("dropped", 1),
        ("dropped", 1),
        ("retried", 1),
    ]
    assert (told[0]["reason"], told[0]["to_do"].startswith("Change what the API names")) == (REFUSED, True)
    assert run_here("status", report.run_id, "--json").last["reasons"] == told
    assert run_here("errors", "met", "--json").last["reasons"] == told
    assert run_here("costs", "--simulated", "--json").last["reasons"] == told
    for command in (("errors",), ("status", report.run_id), ("costs", "--simulated")):
        shown = run_here(*command).out
        assert f"2  refused: {REFUSED}" in shown and "→ Change what the API names" in shown, command

    assert report.path is not None
    manifest = json.loads((Path(report.path) / "manifest.json").read_text())
    assert (manifest["needs_revision"], manifest["dropped"], manifest["refused"]) == (low, 4, 2)
    assert manifest["reasons"] == told
    card = (Path(report.path) / "README.md").read_text()
    assert f"{low} {'needs' if low == 1 else 'need'} revision, 2 dropped, 2 refused by the API; with their reasons" in card
    assert "| refused: the API refused the request (400): The request is not valid. | 2 | " in card
    beside = pl.read_parquet(building.data / manifest["rejected"]["path"])
    assert Counter(beside["status"]) == {"failed": 2, "dropped": 2, "needs_revision": low}
    refused = beside.filter(pl.col("status") == "failed")
    assert refused["reasons"].to_list() == [[REFUSED]] * 2
    assert refused["persona"].null_count() == 0 and set(refused["run_id"]) == {report.run_id}

    seen = run_here("publish", "met", "--dry-run", "--min-score", "1", "--json").last
    assert (seen["dry_run"], seen["accepted"], seen["before"]["accepted"]) == (True, 12, good)
    assert sum(seen["scores"].values()) == 12
    text = run_here("publish", "met", "--dry-run", "--min-score", "1").out
    assert "met (simulated) with scores from 1: no version is made" in text and f"12 of 16 planned (+{low} against" in text
    versions = sorted(path.name for path in (building.data / "versions" / "simulated" / "met").glob("v*"))
    assert versions == ["v0001"]
    assert run_here("publish", "met", "--min-score", "1", "--json").last["version"] == 2
    back = run_here("publish", "met", "--min-score", "6", "--allow-fewer", "--json").last
    assert (back["version"], back["unchanged"], back["latest_version"]) == (1, True, 1)
