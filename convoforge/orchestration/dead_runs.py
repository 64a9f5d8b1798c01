"""Runs whose process was killed: Prefect does not notice by itself, and would show them as Running for ever.

A run sends heartbeats, and an automation on the server, of deployments/automations.yaml, marks it as Crashed when they stop. `make up` and
`convoforge build` register it, on other servers `make alerts`. The next build, or `convoforge status`, ends the run in the ledger.
"""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from time import monotonic, sleep
from typing import Any

from convoforge.orchestration.automations import read_automations, register_automations
from convoforge.orchestration.server_api import ask

NAME = "convoforge-dead-runs"

HEARTBEAT_SECONDS = 30
"""Seconds between two heartbeats of a run, which PREFECT_FLOWS_HEARTBEAT_FREQUENCY sets: the least that Prefect allows."""

RECORDED_SECONDS = 6.0
"""Seconds after which a server has recorded what it was told of task runs: it does so every five."""

SUSPENDED_EVENT = "convoforge.run.suspended"
"""The last sign of a run that was suspended: its heartbeats go on while it drains."""


def mark_dead_runs(url: str, auth: str | None) -> None:
    """Let a server mark the runs of killed processes. Raises `OSError` where it does not answer."""
    if not ask(url, auth, "/automations/filter", {"automations": {"name": {"any_": [NAME]}}}):
        register_automations(url, auth, [find_automation()])


def find_automation() -> dict[str, Any]:
    """The automation, as Prefect's API takes it: the package carries the file for new projects."""
    listed = read_automations(files("convoforge") / "starter" / "automations.yaml")
    return next(one for one in listed if one["name"] == NAME)


def await_task_runs(url: str, auth: str | None, since: datetime, seconds: float) -> None:
    """Wait until a server has recorded the end of every task run that began after `since`, at most `seconds`: it keeps what it was told in
    memory for a while, and one that is stopped before would show them as Running for ever. Raises `OSError` where it does not answer."""
    begun_since = {"start_time": {"after_": since.isoformat()}, "state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    deadline, calm_since = monotonic() + seconds, monotonic()
    while monotonic() < min(deadline, calm_since + RECORDED_SECONDS):
        sleep(0.5)
        if ask(url, auth, "/task_runs/count", {"task_runs": begun_since}):
            calm_since = monotonic()
