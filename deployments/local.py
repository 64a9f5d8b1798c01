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
from urllib.error import HTTPError

import psutil

from convoforge.errors import ConvoforgeError
from convoforge.orchestration.local_server import find_server, start_server, stop_server, usual_port
from convoforge.orchestration.processes import Process
from convoforge.orchestration.schedules import Schedule, await_schedules, describe
from convoforge.orchestration.server_api import admits, ask
from convoforge.orchestration.server_home import (
    AUTH,
    URL,
    Server,
    access_to,
    auth_path,
    log_path,
    open_private,
    prefect_home,
)

ROOT = Path(__file__).resolve().parent.parent
POOL = "convoforge"
DRAIN_SECONDS = 150.0
"""How long runs may take to end: a call takes 120 s at most, where a spec does not say otherwise."""

START_SECONDS = 60.0
STOP_SECONDS = 10.0


def up() -> None:
    """Start what is not running yet, and register the deployments."""
    if named := os.environ.get(URL):
        sys.exit(
            f"PREFECT_API_URL={named} names a server already: unset it, or see deployments/README.md for the commands by hand"
        )
    try:
        server = start_server(lambda: print("starting the Prefect server (the first start takes about 15 s) …", flush=True))
    except ConvoforgeError as error:
        sys.exit(str(error))
    os.environ.update(access_to(server, prefect_home()))
    _make_pool(server.url)
    _prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    worker = _worker() or _start_worker()
    try:
        schedules = await_schedules(server.url, os.environ.get(AUTH))
    except OSError as error:
        sys.exit(f"the Prefect server does not tell its schedules: {error}")
    _show(server, worker, schedules)
    if unscheduled := [one.name for one in schedules if one.active and one.next_run is None]:
        sys.exit(f"\nthe Prefect server schedules no run of {', '.join(unscheduled)}: see its log, {log_path(prefect_home())}")


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
        case "none":
            print(f"{'nothing was running' if worker is None else 'the worker is stopped'} (PREFECT_HOME={prefect_home()})")
            _show_other_server()
        case "stopped":
            print("stopped")


def _show(server: Server, worker: Process, schedules: list[Schedule]) -> None:
    url = server.url.removesuffix("/api")
    print(f"\nPrefect UI  {url}")
    if server.process is not None:
        print(f"password    the UI asks for it once; it is in {auth_path(prefect_home())}")
    print(f"worker      pid {worker.pid}, log {_log()}")
    if admits(server.url, None):
        print(
            "\nCAUTION     this Prefect server was not started by this `make up` and answers everybody: any web page in a browser of this\n"
            "            machine can start runs. Stop it, then `make up` starts one that is closed."
        )
    print("\nschedules, as the server has them:")
    for line in describe(schedules):
        print(f"  {line}")
    word = "pause" if any(one.active for one in schedules) else "resume"
    print(f"  to {word} them: .venv/bin/prefect deployment schedule {word} --all")
    if not _has_key(worker):
        print("\nThe worker has no API key, so runs that are not simulated fail. Set ANTHROPIC_API_KEY, then: make down, make up")
    if others := _differing(worker):
        print(
            f"\nThe worker was started with another {', '.join(others)} than this shell has, and keeps it. To hand this one over: "
            "make down, make up"
        )
    print(
        """\nTry: .venv/bin/prefect deployment run 'build-dataset/build' -p spec=demo -p options='{"simulate": true}' --watch"""
    )
    if server.process is not None:
        print(
            "`prefect` finds server and password by itself in this folder. Elsewhere: "
            f'export PREFECT_API_URL={server.url} PREFECT_API_AUTH_STRING="$(cat {auth_path(prefect_home())})"'
        )
    print("Stop it all with: make down")


def _show_other_server() -> None:
    """Say which server is still there, when there was nothing of ours to stop."""
    port = usual_port()
    home = find_server(port)
    if home == prefect_home().resolve():
        print(f"the Prefect server at port {port} was not started by `make up`, and goes on")
    elif home is not None:
        print(f"the Prefect server at port {port} belongs to another folder: PREFECT_HOME={home} make down")


def _has_key(worker: Process) -> bool:
    """Whether the runs of a worker find an API key: in its environment, or where settings come from otherwise."""
    ask = "from convoforge.settings import Settings; raise SystemExit(not Settings().accounts)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=_environment_of(worker), capture_output=True, check=False)
    return done.returncode == 0


def _differing(worker: Process) -> list[str]:
    """The variables of ours that a worker was started with otherwise than they are set here."""
    theirs = _environment_of(worker)
    names = sorted(name for name in {*theirs, *os.environ} if name.startswith(("ANTHROPIC_", "CONVOFORGE_")))
    return [name for name in names if theirs.get(name) != os.environ.get(name)]


def _environment_of(worker: Process) -> dict[str, str]:
    try:
        return psutil.Process(worker.pid).environ()
    except psutil.Error:
        return dict(os.environ)


def _make_pool(url: str) -> None:
    """The work pool, or the one of before made so: its template takes no job variables, by which a run could name a command, an
    environment or a folder of its own."""
    template = json.loads((ROOT / "deployments" / "job-template.json").read_text())
    auth = os.environ.get(AUTH)
    try:
        try:
            ask(url, auth, "/work_pools/", {"name": POOL, "type": "process", "base_job_template": template})
        except HTTPError as error:
            if error.code != 409:  # it is there
                raise
            ask(url, auth, f"/work_pools/{POOL}", {"base_job_template": template}, "PATCH")
    except OSError as error:
        sys.exit(f"the Prefect server does not make the work pool {POOL!r}: {error}")


def _prefect(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PREFECT_PLUGINS_ENABLED": "false", "DO_NOT_TRACK": "1"}


def _start_worker() -> Process:
    with open_private(_log(), "ab") as log:
        before = log.tell()
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", "local"],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    worker = Process.of(started.pid)
    with open_private(_note(), "w") as note:
        json.dump(asdict(worker), note)
    deadline = time.monotonic() + START_SECONDS
    while b"started!" not in _log().read_bytes()[before:]:
        if not worker.runs or time.monotonic() > deadline:
            worker.end(STOP_SECONDS)
            sys.exit(f"the worker did not start; see the end of {_log()}")
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
