"""How far a run is, for whoever watches it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from convoforge.costs.run_totals import RunTotals
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
    limits, limiter = SimpleNamespace(window_seconds=60), SimpleNamespace(used=0, allowed=50, queue_length=0)
    opened: Any = SimpleNamespace(
        state=state,
        judging=judging,
        generated=9,
        cost_pico=0,
        plan=SimpleNamespace(spec=SimpleNamespace(name="d", limits=limits, budget=SimpleNamespace(run_usd=None)), planned=9),
        ledger=SimpleNamespace(waiting=""),
        context=SimpleNamespace(limiter=SimpleNamespace(waiting="", status=lambda: limiter)),
    )
    assert told in describe(BuildRun.progress(opened))
