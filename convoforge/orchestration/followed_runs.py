"""A run as whoever watches it sees it: what the ledger knows of it, and what Prefect knows, which may be more before it begins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from convoforge.errors import ConfigError, SteeringError
from convoforge.ledger import Ledger
from convoforge.orchestration.steering import (
    Action,
    FlowRunState,
    find_prefect,
    list_scheduled,
    read_flow_run,
    start_build,
    steer,
)
from convoforge.planning.options import BuildOptions, resolve_known_spec
from convoforge.runs.known import read_known_runs
from convoforge.runs.snapshot import RunSnapshot, read_snapshot
from convoforge.settings import Settings

REREAD = timedelta(seconds=5)
"""Time after which cells and reasons of a run that goes on are counted again: in a large dataset that takes seconds."""

SUSPENDED = "Prefect's Resume continues the run"
"""What the ledger says of a run that is suspended."""


@dataclass(frozen=True, slots=True)
class FollowedRun:
    """A run: `seen` in the ledger, None before it begins there; `flow_run` in Prefect, None where that was not asked or has none."""

    id: str
    seen: RunSnapshot | None
    flow_run: FlowRunState | None
    counted_at: datetime

    @property
    def goes_on(self) -> bool:
        """Whether it will change by itself: a process is at work on it, or about to be."""
        return bool(self.seen and self.seen.run.goes_on) or self.is_starting

    @property
    def _is_held(self) -> bool:
        """Whether the ledger knows of no process that was at work on it and has ended it: it has not begun, waits or was suspended."""
        return self.seen is None or self.seen.run.state == "waiting" or SUSPENDED in self.seen.run.message

    @property
    def is_starting(self) -> bool:
        """Whether Prefect has it for a worker, and nothing of it is in the ledger yet, or nothing since it was resumed."""
        if self.flow_run is None or (self.seen and self.seen.run.goes_on):
            return False
        return self.flow_run.kind in ("SCHEDULED", "PENDING") or (self.flow_run.kind == "RUNNING" and self._is_held)

    @property
    def dataset(self) -> str:
        """What it builds."""
        return self.seen.run.row.dataset if self.seen else self.flow_run.subject if self.flow_run else ""

    @property
    def _ended_outside(self) -> bool:
        """Whether it was cancelled while no process was at work on it, which the ledger does not learn."""
        return self._is_held and self.flow_run is not None and self.flow_run.kind in ("CANCELLING", "CANCELLED")

    @property
    def state(self) -> str:
        """One word: as the ledger has it; `scheduled` while it waits for a worker, `cancelled` where it was before it began or went on."""
        if self.is_starting:
            return "scheduled"
        if self._ended_outside:
            return "cancelled"
        return self.seen.run.state if self.seen else "failed"

    @property
    def message(self) -> str:
        """What is to be said of its state."""
        if self.is_starting:
            return "waits for a worker, which takes some seconds"
        if self._ended_outside:
            return "cancelled in Prefect"
        return (
            self.seen.run.message if self.seen else f"it ended before it began: {self.flow_run.message if self.flow_run else ''}"
        )

    @property
    def actions(self) -> tuple[Action, ...]:
        """What can be done to it now. A run that is being paused is not resumed before its process has ended, and nothing is done to one
        that has ended."""
        if self.flow_run is None or not (self.goes_on or self._is_held):
            return ()
        return () if self.flow_run.kind == "PAUSED" and not self._is_held else self.flow_run.actions


def read_followed(ledger: Ledger, run_id: str, before: FollowedRun | None = None, *, steered: bool = False) -> FollowedRun:
    """A run by its id in the ledger, or how that begins. Prefect is asked where the ledger says that nothing goes on; always, if what can
    be done to it is wanted (`steered`). Raises `ConfigError` where nobody knows it."""
    now = datetime.now(UTC)
    old = before if before is not None and before.seen is not None and now - before.counted_at < REREAD else None
    try:
        seen = ledger.read(read_snapshot, run_id, now, old.seen if old else None)
    except ConfigError:
        seen = None
    if old is not None and seen is not None and not seen.run.goes_on:  # its last figures are those of its end
        seen, old = ledger.read(read_snapshot, run_id, now), None
    run_id = seen.run.row.id if seen else run_id
    flow_run = _ask_prefect(run_id) if steered or seen is None or not seen.run.goes_on else None
    if seen is None and flow_run is None:
        raise ConfigError(f"there is no run {run_id}: `convoforge status` lists the runs")
    return FollowedRun(run_id, seen, flow_run, old.counted_at if old else now)


def list_followed(ledger: Ledger, limit: int) -> list[FollowedRun]:
    """Builds that wait for a worker, then the newest runs, without their cells and reasons."""
    now = datetime.now(UTC)
    known = [
        FollowedRun(one.row.id, RunSnapshot(one, None, ()), None, now) for one in ledger.read(read_known_runs, now, limit=limit)
    ]
    ids, waiting = {one.id for one in known}, []
    with suppress(SteeringError):
        waiting = [FollowedRun(UUID(one.id).hex, None, one, now) for one in list_scheduled(find_prefect())]
    return [*(one for one in waiting if one.id not in ids), *known][:limit]


def read_by(ledger: Ledger) -> Callable[[str, FollowedRun | None], FollowedRun]:
    """What a feed reads runs with."""
    return lambda run_id, before: read_followed(ledger, run_id, before)


def _ask_prefect(run_id: str) -> FlowRunState | None:
    with suppress(SteeringError, ValueError):  # no server, or no id that a run can have in Prefect
        return read_flow_run(find_prefect(), str(UUID(run_id)))
    return None


def start_followed(ledger: Ledger, settings: Settings, spec: str, options: BuildOptions, key: str) -> FollowedRun:
    """Start a build of a spec in the config folder, once for a `key`. Raises `ConfigError` for what cannot be built, `SteeringError` where
    no worker would take it."""
    resolve_known_spec(spec, options, settings)
    run_id = start_build(find_prefect(), spec, options, key)
    return read_followed(ledger, UUID(run_id).hex, steered=True)


def steer_followed(ledger: Ledger, found: FollowedRun, action: Action) -> FollowedRun:
    """The run after something was done to it. Raises `ConfigError` where that cannot be done to it now, `SteeringError` where no Prefect
    server answers."""
    server = find_prefect()
    if found.flow_run is None or action not in found.actions:
        can = f"it can {', '.join(found.actions)}" if found.actions else "nothing can be done to it"
        raise ConfigError(f"this run is {found.state}, and cannot {action} now: {can}")
    steer(server, found.flow_run.id, action)
    return read_followed(ledger, found.id, steered=True)
