"""How far a run is, for whoever watches it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from convoforge.costs.run_figures import RunTotals
from convoforge.orchestration import build_run
from convoforge.orchestration.build_run import BuildRun, BuildState
from convoforge.tasks.progress import describe


@pytest.mark.parametrize(
    ("judging", "told"),
    [
        (None, "9 of 9 done, 8 accepted, 0 need revision, 0 failed"),
        (object(), "9 of 9 done, 3 accepted, 2 need revision, 3 wait for the judge, 0 failed"),
    ],
)
def test_what_a_judge_has_not_read_is_not_accepted_yet(judging: object, told: str) -> None:
    state = BuildState(todo=9, judged=RunTotals(generated=9, accepted=3, needs_revision=2, dropped=1))
    state.tally.update(generated=9, accepted=8, dropped=1)
    assert told in describe(_open(state, judging).progress())


def test_the_time_left_goes_by_what_was_done_since_the_run_was_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([500.0, 510.0, 520.0])
    monkeypatch.setattr(build_run, "monotonic", lambda: next(clock))
    state = BuildState(todo=100, others=RunTotals(generated=80))  # before it was paused
    opened = _open(state)
    opened.start_clock()
    assert opened.progress().seconds_left is None  # nobody knows yet
    state.tally.update(generated=5)
    opened.start_clock()  # of the next round
    assert opened.progress().seconds_left == pytest.approx(15 * 20 / 5)


def _open(state: BuildState, judging: Any = None) -> BuildRun:
    limits, limiter = SimpleNamespace(window_seconds=60), SimpleNamespace(used=0, allowed=50, queue_length=0)
    spec = SimpleNamespace(name="d", limits=limits, budget=SimpleNamespace(run_usd=None))
    context: Any = SimpleNamespace(
        limiter=SimpleNamespace(waiting="", status=lambda: limiter), ledger=SimpleNamespace(waiting=""), state=state
    )
    nobody: Any = None
    return BuildRun(
        context=context,
        state=state,
        generator=nobody,
        batcher=nobody,
        plan=cast("Any", SimpleNamespace(spec=spec, planned=9)),
        settings=nobody,
        claims=nobody,
        cells={},
        judging=judging,
    )
