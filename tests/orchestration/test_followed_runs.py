"""What is said of a run that the ledger and Prefect each know a part of."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from convoforge.orchestration.followed_runs import SUSPENDED, FollowedRun
from convoforge.orchestration.steering import FlowRunState

AWAY = "suspended in Prefect; 9 generated so far, and " + SUSPENDED


def followed(ledger: tuple[str, str] | None, kind: str | None) -> FollowedRun:
    known: Any = None
    if ledger:
        run = SimpleNamespace(
            state=ledger[0], message=ledger[1], goes_on=ledger[0] == "running", row=SimpleNamespace(dataset="demo")
        )
        known = SimpleNamespace(run=run)
    flow_run = kind and FlowRunState("1", "n", "demo", kind, kind, "why", "", deployed=True)
    return FollowedRun("1", known, flow_run or None, datetime.now(UTC))


@pytest.mark.parametrize(
    ("ledger", "kind", "state", "goes_on", "actions"),
    [
        (None, "SCHEDULED", "scheduled", True, ("cancel",)),
        (None, "RUNNING", "scheduled", True, ("pause", "cancel")),  # its start takes long in a large dataset
        (None, "CANCELLING", "cancelled", False, ()),
        (None, "CRASHED", "failed", False, ()),
        (("running", ""), None, "running", True, ()),
        (("running", ""), "RUNNING", "running", True, ("pause", "cancel")),
        (("running", ""), "PAUSED", "running", True, ()),  # it is not resumed before its process has ended
        (("partial", AWAY), "PAUSED", "partial", False, ("resume", "cancel")),
        (("partial", AWAY), "PENDING", "scheduled", True, ("cancel",)),
        (("partial", AWAY), "CANCELLED", "cancelled", False, ()),
        (("partial", "budget reached"), "RUNNING", "partial", False, ()),
        (("partial", "cancelled in Prefect; 3 of 4 accepted"), "CANCELLED", "partial", False, ()),
        (("waiting", "approve?"), "SCHEDULED", "scheduled", True, ("cancel",)),
        (("failed", "the process ended unexpectedly"), "RUNNING", "failed", False, ()),
    ],
)
def test_a_run_is_what_both_say(
    ledger: tuple[str, str] | None, kind: str | None, state: str, goes_on: bool, actions: tuple[str, ...]
) -> None:
    run = followed(ledger, kind)
    assert (run.state, run.goes_on, run.actions, run.dataset) == (state, goes_on, actions, "demo")
    assert run.message or state == "running"
