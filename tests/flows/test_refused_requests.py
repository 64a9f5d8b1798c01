"""What the API refuses costs nothing, and is not lost: an empty account leaves draws pending; a refused request may be asked again."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.client.schemas.objects import State
from support import Project

from convoforge.simulator.client import SimulatorControl
from convoforge.tasks.report import BuildReport

RunFlow = Callable[..., State[Any]]
EMPTY = {
    "kind": "400",
    "message": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
}


def report_in(state: State[Any]) -> BuildReport:
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, BuildReport), found
    return found


def states(project: Project) -> Counter[str]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return Counter(state for (state,) in connection.execute("SELECT state FROM requests"))


@pytest.mark.parametrize("mode", ["online", pytest.param("batch", marks=pytest.mark.long)])
def test_an_empty_account_uses_up_no_draw_however_often_one_builds(
    run_build: RunFlow, building: Project, simulator: SimulatorControl, mode: str
) -> None:
    building.spec("empty", mode=mode, max_draws=1)
    for _ in range(2):
        simulator.script(*[EMPTY] * 8)
        state = run_build(spec="empty", simulate=True)
        report = report_in(state)
        assert (state.type.value, report.exhausted, report.refused, report.cost_usd) == ("FAILED", 0, 0, "0.00")
        assert "credit balance is too low" in report.message and "\n" not in report.message
        assert states(building) == {"pending": 8}
        simulator.reset()
    report = report_in(run_build(spec="empty", simulate=True))
    assert (report.state, report.accepted, report.generated) == ("completed", 8, 8)


def test_a_refused_request_is_asked_again_after_a_change_or_by_wish_and_not_otherwise(
    run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    building.spec("refused", max_draws=1)
    simulator.script(*["400"] * 8)
    first = report_in(run_build(spec="refused", simulate=True))
    assert (first.state, first.refused, first.exhausted, first.pending, first.failed) == ("partial", 8, 0, 0, 8)
    assert "8 requests were refused by the API" in first.message
    assert any("`retry_refused`" in note and "The request is not valid" in note for note in first.notes)
    asked = simulator.usage()["requests"]

    unchanged = report_in(run_build(spec="refused", simulate=True))
    assert (unchanged.state, unchanged.refused, simulator.usage()["requests"]) == ("partial", 8, asked)

    simulator.script(*["400"] * 3)
    by_wish = report_in(run_build(spec="refused", simulate=True, retry_refused=True))
    assert (by_wish.state, by_wish.accepted, by_wish.refused) == ("partial", 5, 3)
    assert simulator.usage()["requests"] == asked + 8  # each once: what is refused again is not asked a third time

    building.spec("refused", max_draws=1, generation={"max_tokens": 3000})
    changed = report_in(run_build(spec="refused", simulate=True))
    assert (changed.state, changed.accepted, changed.generated, changed.refused) == ("completed", 8, 3, 0)


@pytest.mark.long
def test_the_judge_is_asked_again_by_wish_where_the_api_has_refused_to_let_it_read(
    run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    points = dict.fromkeys(("persona", "emotion", "topic", "advice", "talk", "roles"), 1)
    building.spec("unread", max_draws=1, quality={"min_score": 1, "judge": {"rubric": "training", "min": points}})
    simulator.script(*["400"] * 3, match="You judge one conversation")
    first = report_in(run_build(spec="unread", simulate=True))
    assert (first.state, first.accepted, first.needs_revision, first.judged) == ("partial", 5, 3, 5)
    assert report_in(run_build(spec="unread", simulate=True)).judged == 0

    planned = building.run("plan", "unread", "--simulate", "--retry-refused", "--json").last
    assert (planned["to_generate"], planned["to_judge"], planned["judge"]["requests_expected"]) == (0, 3, 3)
    simulator.script("400", match="You judge one conversation")
    by_wish = report_in(run_build(spec="unread", simulate=True, retry_refused=True))
    assert (by_wish.accepted, by_wish.judged, by_wish.generated, by_wish.needs_revision) == (7, 2, 0, 1)
    last = report_in(run_build(spec="unread", simulate=True, retry_refused=True))
    assert (last.state, last.accepted, last.judged, last.generated) == ("completed", 8, 1, 0)


def test_a_retry_after_of_days_ends_the_run_short_and_does_not_hold_the_next_one_up(
    run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    retry = {"base_delay_seconds": 0.01, "jitter_seconds": 0, "timeout_seconds": 5, "patience_seconds": 2}
    building.spec("far", retry=retry, limits={"max_requests": 100_000, "concurrency": 1})
    simulator.script({"kind": "429", "retry_after": 999_999})
    state = run_build(spec="far", simulate=True)
    report = report_in(state)
    assert (state.name, report.pending, report.generated) == ("Partial", 8, 0)
    assert report.message.startswith("the API asks to wait 11 days 13 h, until 20")
    again = report_in(run_build(spec="far", simulate=True))
    assert (again.state, again.accepted) == ("completed", 8)
    assert again.seconds < 60


@pytest.mark.long
def test_another_model_is_told_and_stops_the_run_unless_it_is_allowed(
    run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    other = {"kind": "ok", "fields": {"model": "claude-opus-5-5"}}
    building.spec("other", limits={"max_requests": 100_000, "concurrency": 1})
    simulator.script(*[other] * 8)
    state = run_build(spec="other", simulate=True)
    report = report_in(state)
    assert (state.type.value, report.generated) == ("FAILED", 1)
    assert "'claude-opus-5-5' instead of 'claude-sonnet-5-5'" in report.message

    building.spec("other", limits={"max_requests": 100_000, "concurrency": 1}, allow_other_model=True)
    allowed = report_in(run_build(spec="other", simulate=True))
    assert (allowed.state, allowed.accepted) == ("completed", 8)
    assert any("7 answers are of another model" in note and "by its own price" in note for note in allowed.notes)
    assert allowed.path is not None
    frame = pl.concat([pl.read_parquet(file) for file in sorted(Path(allowed.path).rglob("*.parquet"))])
    assert set(frame["model"]) == {"claude-opus-5-5"}
