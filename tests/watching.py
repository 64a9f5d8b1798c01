"""What tests see of a run from outside: Prefect as an operator has it, and a way to wait for a sign."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect
from filelock import FileLock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, Log, State
from prefect.client.schemas.sorting import FlowRunSort
from server_logs import watch_log

DEADLINE = 60.0


def wait_for(look: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """What `look` finds as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"in {seconds} s there was no sign of: {what}")


def prefect_home(folder: Path) -> Path:
    """A Prefect folder whose database is ready: what takes a first start so long."""
    watch_log(folder / "convoforge-server.log")
    return Path(shutil.copytree(migrated(), folder))


@cache
def migrated() -> Path:
    """A Prefect folder with a database, made once for all processes and later runs of the suite. Copy it."""
    home = Path(__file__).parent.parent / ".pytest_cache" / "d" / f"migrated-prefect-{prefect.__version__}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not home.exists():
            upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
            subprocess.run(upgrade, env={**os.environ, "PREFECT_HOME": f"{home}.new"}, check=True, capture_output=True)
            Path(f"{home}.new").rename(home)
    return home


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Operator:
    """Prefect as somebody sees it who watches runs from outside."""

    client: SyncPrefectClient

    def run(self, run_id: str) -> FlowRun:
        return self.client.read_flow_run(UUID(run_id))

    def newest(self, name: str) -> FlowRun | None:
        """The newest run whose name begins so."""
        named = FlowRunFilter(name=FlowRunFilterName(like_=name))
        runs = self.client.read_flow_runs(flow_run_filter=named, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
        return runs[0] if runs else None

    def set_state(self, name: str, state: State[Any], *, force: bool = False) -> FlowRun:
        run = self.newest(name)
        assert run is not None
        self.client.set_flow_run_state(run.id, state, force=force)
        return run

    def task_runs(self, run_id: str, count: int) -> list[str]:
        """The names of a run's `count` task runs, once all have arrived: they come as events, behind the run."""
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id)]))

        def all_of_them() -> list[str]:
            runs = self.client.read_task_runs(flow_run_filter=mine)
            return [run.name for run in runs] if len(runs) >= count else []

        names: list[str] = wait_for(all_of_them, f"{count} task runs")
        return names

    def task_states(self, run_id: str, count: int) -> dict[str, tuple[str, str]]:
        """Name → state and message of a run's `count` task runs, once all have ended."""
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id)]))

        def all_of_them() -> dict[str, tuple[str, str]] | None:
            runs = self.client.read_task_runs(flow_run_filter=mine)
            ended = {
                run.name: (run.state.name or "", run.state.message or "") for run in runs if run.state and run.state.is_final()
            }
            return ended if len(runs) >= count and len(ended) == len(runs) else None

        states: dict[str, tuple[str, str]] = wait_for(all_of_them, f"the ends of {count} task runs")
        return states

    def artifacts(self, run_id: str) -> dict[str, Any]:
        """type → artifact, of those that a run has left."""
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run_id)]))
        return {str(one.type): one for one in self.client.read_artifacts(artifact_filter=mine)}

    def log(self, run_id: str) -> str:
        return "\n".join(line.message for line in self.lines(run_id))

    def lines(self, run_id: str, begins: str = "") -> list[Log]:
        """The lines of a run's log that begin so, the oldest first."""
        mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)]))
        found: list[Log] = []
        while page := self.client.read_logs(log_filter=mine, limit=200, offset=len(found)):
            found += page
        return [line for line in found if line.message.startswith(begins)]

    def events(self, name: str, resource: str, count: int) -> list[dict[str, Any]]:
        """The payloads of `count` events about a resource, oldest first, once all have arrived."""
        about = {"event": {"name": [name]}, "resource": {"id": [resource]}, "order": "ASC"}

        def all_of_them() -> list[dict[str, Any]]:
            found = self.client.request("POST", "/events/filter", json={"filter": about, "limit": 50}).json()["events"]
            return [{**one["payload"], "resource": one["resource"]} for one in found] if len(found) >= count else []

        payloads: list[dict[str, Any]] = wait_for(all_of_them, f"{count} events {name}")
        return payloads
