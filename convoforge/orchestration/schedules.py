"""The schedules of a Prefect server and when each runs next, read back from the server: what it was told is no proof that it does it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from convoforge.orchestration.server_api import ask

SCHEDULER_SECONDS = 90.0
"""The server's scheduler goes round each minute, and looks at new deployments every five seconds."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A deployment with schedules: whether any is active, and when it runs next."""

    name: str
    active: bool
    next_run: datetime | None


def await_schedules(url: str, auth: str | None, seconds: float = SCHEDULER_SECONDS) -> list[Schedule]:
    """All schedules, once each active one has a next run, or as they are after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = read_schedules(url, auth)
        except OSError:  # a server on SQLite sends callers away while it is busy
            if time.monotonic() > deadline:
                raise
        else:
            if all(one.next_run for one in found if one.active) or time.monotonic() > deadline:
                return found
        time.sleep(0.5)


def read_schedules(url: str, auth: str | None) -> list[Schedule]:
    """All schedules, by name, as the server has them now. Raises `OSError` where it does not answer."""
    flows = {one["id"]: one["name"] for one in ask(url, auth, "/flows/filter", {})}
    scheduled = [one for one in ask(url, auth, "/deployments/filter", {}) if one["schedules"]]
    return sorted(
        (
            Schedule(
                name=f"{flows[one['flow_id']]}/{one['name']}",
                active=not one["paused"] and any(schedule["active"] for schedule in one["schedules"]),
                next_run=_next_run(url, auth, one["id"]),
            )
            for one in scheduled
        ),
        key=lambda one: one.name,
    )


def describe(schedules: Sequence[Schedule]) -> Iterator[str]:
    """A line for each, for a person; times are UTC."""
    width = max((len(one.name) for one in schedules), default=0)
    for one in schedules:
        if not one.active:
            text = "paused"
        elif one.next_run is None:
            text = "NOT SCHEDULED"
        else:
            text = f"next run {one.next_run:%Y-%m-%d %H:%M} UTC"
        yield f"{one.name:{width}}  {text}"


def _next_run(url: str, auth: str | None, deployment: str) -> datetime | None:
    body = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "NEXT_SCHEDULED_START_TIME_ASC",
    }
    times = [
        datetime.fromisoformat(one["next_scheduled_start_time"])
        for one in ask(url, auth, "/flow_runs/filter", body)
        if one["auto_scheduled"] and one["next_scheduled_start_time"]
    ]
    return min(times).astimezone(UTC) if times else None
