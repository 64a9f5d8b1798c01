"""`make up` and `make down`: Prefect server, work pool, deployments and a worker on this machine, and all of it gone again.

On other machines the same four commands do it: see README.md beside this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from convoforge.cli.server import Process, prefect_home, start_server, stop_server
from convoforge.errors import ConvoforgeError
from convoforge.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
POOL = "convoforge"
DRAIN_SECONDS = 150.0
"""How long runs may take to end: a call takes 120 s at most, where a spec does not say otherwise."""

START_SECONDS = 60.0
STOP_SECONDS = 10.0


def up() -> None:
    """Start what is not running yet, and register the deployments."""
    if named := os.environ.get("PREFECT_API_URL"):
        sys.exit(
            f"PREFECT_API_URL={named} names a server already: unset it, or see deployments/README.md for the commands by hand"
        )
    try:
        server = start_server(lambda: print("starting the Prefect server (the first start takes about 15 s) …", flush=True))
    except ConvoforgeError as error:
        sys.exit(str(error))
    os.environ["PREFECT_API_URL"] = server.url
    _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    worker = _worker() or _start_worker()
    print(f"\nPrefect UI  {server.url.removesuffix('/api')}\nworker      pid {worker.pid}, log {_log()}")
    if Settings().keys:
        print("nightly     at 02:00 UTC, with your API key; to pause it: .venv/bin/prefect deployment schedule pause --all")
    print("\nTry: .venv/bin/prefect deployment run 'build-dataset/build' -p spec=demo -p simulate=true --watch")
    if not server.url.startswith("http://127.0.0.1:4200/"):
        print(f"in a shell with: export PREFECT_API_URL={server.url}")
    print("Stop it all with: make down")


def down() -> None:
    """Let the worker's runs drain, then stop it, then the server."""
    worker = _worker()
    if worker is not None:
        _drain(worker)
        worker.end(STOP_SECONDS)
    _note().unlink(missing_ok=True)
    match stop_server():
        case "in use":
            print("the worker is stopped; a build still uses the server, which ends with it")
        case "none" if worker is None:
            print("nothing was running")
        case _:
            print("stopped")


def _prefect(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "prefect", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


def _start_worker() -> Process:
    with _log().open("ab") as log:
        before = log.tell()
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", "local"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    worker = Process.of(started.pid)
    _note().write_text(json.dumps(asdict(worker)))
    deadline = time.monotonic() + START_SECONDS
    while b"started!" not in _log().read_bytes()[before:]:
        if not worker.runs or time.monotonic() > deadline:
            worker.end(STOP_SECONDS)
            sys.exit(f"the worker did not start; its last words are in {_log()}")
        time.sleep(0.2)
    return worker


def _drain(worker: Process) -> None:
    """A worker that is stopped kills its runs, and what they have paid for is lost: so they are asked first, and waited for."""
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + DRAIN_SECONDS
    while worker.runs and time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            runs = [one for one in psutil.Process(worker.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
            if not runs:
                return
            for run in set(runs) - asked:
                print("letting a run drain …", flush=True)
                run.terminate()
            asked.update(runs)
        time.sleep(0.2)


def _worker() -> Process | None:
    try:
        noted = Process(**json.loads(_note().read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return noted if noted.runs else None


def _note() -> Path:
    return prefect_home() / "convoforge-worker.json"


def _log() -> Path:
    return prefect_home() / "convoforge-worker.log"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up"]:
            up()
        case ["down"]:
            down()
        case _:
            sys.exit("usage: python -m deployments.local up|down")
