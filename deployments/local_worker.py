"""The worker of `make up`: started, given what the shell of a later `make up` has set, and ended without a loss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from convoforge.orchestration.dead_runs import HEARTBEAT_SECONDS
from convoforge.orchestration.processes import Process
from convoforge.orchestration.server_api import ask
from convoforge.orchestration.server_home import AUTH, URL, open_private, prefect_home

ROOT = Path(__file__).resolve().parent.parent
POOL = "convoforge"
DRAIN_SECONDS = 150.0
"""How long runs may take to end: a call takes 120 s at most, where a spec does not say otherwise."""

QUIET_SECONDS = 2.0
"""A run that the worker has just taken is seen as a process within this time."""

START_SECONDS = 60.0
STOP_SECONDS = 10.0


def ready_worker() -> Process:
    """A worker that runs, with every variable of ours that this shell has set. One that has another value is replaced, once its runs
    have ended; what this shell has not set, it keeps."""
    worker = find_worker()
    if worker is None:
        return _start_worker(os.environ)
    theirs = read_environment(worker)
    if changed := [name for name in _list_ours(os.environ) if theirs.get(name) != os.environ[name]]:
        print(f"handing {', '.join(changed)} of this shell over to the worker …", flush=True)
        kept = {name: theirs[name] for name in _list_ours(theirs)}
        with _taking_nothing_new():
            _await_runs(worker)
            worker.end(STOP_SECONDS)
            return _start_worker({**kept, **os.environ})
    return worker


def list_kept(worker: Process) -> list[str]:
    """The variables of ours that a worker has and this shell has not."""
    return [name for name in _list_ours(read_environment(worker)) if not os.environ.get(name)]


def list_accounts(worker: Process) -> list[str]:
    """What the runs of a worker call the API under: fingerprints of its keys, from its environment or where settings come from
    otherwise, or the name of a cloud."""
    script = (
        "from convoforge.settings import Settings; from convoforge.rate import fingerprint; settings = Settings()\n"
        "print(*(fingerprint(one) if settings.keys else one for one in settings.accounts))"
    )
    environment = read_environment(worker)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split()


def drain(worker: Process) -> None:
    """A worker that is stopped kills its runs, and what they have paid for is lost: so they are asked first, and waited for."""
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + DRAIN_SECONDS
    while (runs := _list_runs(worker)) and time.monotonic() < deadline:
        for run in set(runs) - asked:
            print("letting a run drain …", flush=True)
            with suppress(psutil.NoSuchProcess):
                run.terminate()
        asked.update(runs)
        time.sleep(0.2)


def find_worker() -> Process | None:
    """The worker that was noted, if it runs."""
    worker = read_worker(prefect_home())
    return worker if worker is not None and worker.runs else None


def read_worker(home: Path) -> Process | None:
    """The worker that was noted last in a Prefect folder; it may be gone by now."""
    try:
        return Process(**json.loads(note_path(home).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_environment(worker: Process) -> dict[str, str]:
    """The environment that a worker was started with; this shell's where the system does not tell."""
    try:
        return psutil.Process(worker.pid).environ()
    except psutil.Error:
        return dict(os.environ)


def note_path(home: Path) -> Path:
    """Where the worker of a Prefect folder is noted."""
    return home / "convoforge-worker.json"


def worker_log() -> Path:
    """Where the worker writes what it has to say."""
    return prefect_home() / "convoforge-worker.log"


def make_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a `prefect` command of ours, and of a worker's runs. It sets their heartbeats: a pool's template with an
    environment of its own would let each run bring one."""
    ours = {"PREFECT_PLUGINS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}
    return {**environment, **ours}


def _start_worker(environment: Mapping[str, str]) -> Process:
    with open_private(worker_log(), "ab") as log:
        before = log.tell()
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", "local"],
            cwd=ROOT,
            env=make_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    worker = Process.of(started.pid)
    with open_private(note_path(prefect_home()), "w") as note:
        json.dump(asdict(worker), note)
    deadline = time.monotonic() + START_SECONDS
    while b"started!" not in worker_log().read_bytes()[before:]:
        if not worker.runs or time.monotonic() > deadline:
            worker.end(STOP_SECONDS)
            sys.exit(f"the worker did not start; see the end of {worker_log()}")
        time.sleep(0.2)
    return worker


@contextmanager
def _taking_nothing_new() -> Iterator[None]:
    """Runs wait in the pool meanwhile, and are late rather than lost. A pool that somebody has paused stays so."""
    url, auth = os.environ[URL], os.environ.get(AUTH)
    if ask(url, auth, f"/work_pools/{POOL}")["is_paused"]:
        yield
        return
    ask(url, auth, f"/work_pools/{POOL}", {"is_paused": True}, "PATCH")
    try:
        yield
    finally:
        ask(url, auth, f"/work_pools/{POOL}", {"is_paused": False}, "PATCH")


def _await_runs(worker: Process) -> None:
    """Wait for the runs of a worker to end, however long they take: they go on with what they were started with."""
    announced, last_seen = False, time.monotonic()
    while worker.runs and time.monotonic() - last_seen < QUIET_SECONDS:
        if _list_runs(worker):
            last_seen = time.monotonic()
            if not announced:
                print(
                    "waiting for the runs of the worker to end (Ctrl-C leaves it as it is; `make down` lets them drain) …",
                    flush=True,
                )
            announced = True
        time.sleep(0.2)


def _list_runs(worker: Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [one for one in psutil.Process(worker.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
    return []


def _list_ours(environment: Mapping[str, str]) -> list[str]:
    return sorted(name for name, value in environment.items() if value and name.startswith(("ANTHROPIC_", "CONVOFORGE_")))
