"""Runs whose process was killed: Prefect does not notice by itself, and would show them as Running for ever.

A run sends heartbeats, and an automation on the server marks it as Crashed when they stop. `make up` and `convoforge build` see that it is
there; deployments/automations.yaml holds the same for other servers. The next build, or `convoforge status`, ends the run in the ledger.
"""

from __future__ import annotations

from datetime import datetime
from time import monotonic, sleep
from typing import Any

from convoforge.orchestration.server_api import ask

NAME = "convoforge-dead-runs"
MESSAGE = "the process ended unexpectedly: killed, or the machine went down. The next build goes on from here"

HEARTBEAT_SECONDS = 30
"""Seconds between two heartbeats of a run, which PREFECT_FLOWS_HEARTBEAT_FREQUENCY sets: the least that Prefect allows."""

DEAD_AFTER_SECONDS = 120
"""Seconds without a heartbeat, or any other sign, after which a run is dead."""

RECORDED_SECONDS = 6.0
"""Seconds after which a server has recorded what it was told of task runs: it does so every five."""

SUSPENDED_EVENT = "convoforge.run.suspended"
"""The last sign of a run that was suspended: its heartbeats go on while it drains."""

_FLOWS = ("build-dataset", "join-build", "collect-message-batches", "generate-requests", "cost-report", "train-lora")


def make_automation(within: int = DEAD_AFTER_SECONDS) -> dict[str, Any]:
    """The automation, as Prefect's API takes it."""
    return {
        "name": NAME,
        "description": "Marks a run as Crashed when its process is gone: no heartbeat any more, and no end.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "after": ["prefect.flow-run.heartbeat"],
            "expect": ["prefect.flow-run.*", SUSPENDED_EVENT],
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": list(_FLOWS)},
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": within,
        },
        "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "message": MESSAGE}],
    }


def mark_dead_runs(url: str, auth: str | None) -> None:
    """Let a server mark the runs of killed processes. Raises `OSError` where it does not answer."""
    if not ask(url, auth, "/automations/filter", {"automations": {"name": {"any_": [NAME]}}}):
        ask(url, auth, "/automations/", make_automation())


def await_task_runs(url: str, auth: str | None, since: datetime, seconds: float) -> None:
    """Wait until a server has recorded the end of every task run that began after `since`, at most `seconds`: it keeps what it was told in
    memory for a while, and one that is stopped before would show them as Running for ever. Raises `OSError` where it does not answer."""
    begun_since = {"start_time": {"after_": since.isoformat()}, "state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    deadline, calm_since = monotonic() + seconds, monotonic()
    while monotonic() < min(deadline, calm_since + RECORDED_SECONDS):
        sleep(0.5)
        if ask(url, auth, "/task_runs/count", {"task_runs": begun_since}):
            calm_since = monotonic()
