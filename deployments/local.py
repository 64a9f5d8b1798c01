"""`make up` and `make down`: Prefect server, work pool, deployments and a worker on this machine, and all of it gone again.

On other machines the same four commands do it: see README.md beside this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import psutil

from convoforge.errors import ConvoforgeError
from convoforge.orchestration.automations import notifies, read_automations, register_automations
from convoforge.orchestration.local_server import find_server, start_server, stop_server, usual_port
from convoforge.orchestration.processes import Process
from convoforge.orchestration.schedules import Schedule, await_schedules, describe
from convoforge.orchestration.server_api import admits, ask
from convoforge.orchestration.server_home import AUTH, URL, Server, access_to, auth_path, log_path, prefect_home, read_note
from convoforge.orchestration.server_log import measure_log, summarize_errors
from deployments.local_worker import (
    POOL,
    ROOT,
    STOP_SECONDS,
    drain,
    find_worker,
    list_accounts,
    list_kept,
    make_environment,
    note_path,
    read_worker,
    ready_worker,
    worker_log,
)

AUTOMATIONS = ROOT / "deployments" / "automations.yaml"
"""Those that send no message are registered here, the others by `make alerts`, which knows where to."""


def up() -> None:
    """Start what is not running yet, and register the deployments."""
    if named := os.environ.get(URL):
        sys.exit(
            f"PREFECT_API_URL={named} names a server already: unset it, or see deployments/README.md for the commands by hand"
        )
    log_start = measure_log(log_path(prefect_home()))
    try:
        server = start_server(lambda: print("starting the Prefect server (the first start takes about 15 s) …", flush=True))
    except ConvoforgeError as error:
        sys.exit(str(error))
    os.environ.update(access_to(server, prefect_home()))
    _make_pool(server.url)
    _prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    try:
        register_automations(
            server.url, os.environ.get(AUTH), [one for one in read_automations(AUTOMATIONS) if not notifies(one)]
        )
        worker = ready_worker()
        schedules = await_schedules(server.url, os.environ.get(AUTH))
    except OSError as error:
        sys.exit(f"the Prefect server does not answer: {error}")
    _show(server, worker, schedules)
    if trouble := summarize_errors(log_path(prefect_home()), log_start):
        print(f"\n{trouble}")
    if unscheduled := [one.name for one in schedules if one.active and one.next_run is None]:
        sys.exit(f"\nthe Prefect server schedules no run of {', '.join(unscheduled)}: see its log, {log_path(prefect_home())}")


def down() -> None:
    """Let the worker's runs drain, then stop it, then the server."""
    worker = find_worker()
    if worker is not None:
        drain(worker)
        worker.end(STOP_SECONDS)
    note_path(prefect_home()).unlink(missing_ok=True)
    match stop_server():
        case "in use":
            print("the worker is stopped; a build still uses the server, which ends with it")
        case "none":
            print(f"{'nothing was running' if worker is None else 'the worker is stopped'} (PREFECT_HOME={prefect_home()})")
            _show_other_server()
        case "stopped":
            print("stopped")
    for home in _list_other_homes():
        print(f"what belongs to another Prefect folder goes on: PREFECT_HOME={home} make down")


def _show(server: Server, worker: Process, schedules: list[Schedule]) -> None:
    url = server.url.removesuffix("/api")
    print(f"\nPrefect UI  {url}")
    if server.process is not None:
        print(f"password    the UI asks for it once; it is in {auth_path(prefect_home())}")
    print(f"worker      pid {worker.pid}, log {worker_log()}")
    accounts = list_accounts(worker)
    print(f"API key     {', '.join(accounts) or 'none: runs that are not simulated fail. Set ANTHROPIC_API_KEY, then: make up'}")
    if kept := list_kept(worker):
        print(
            f"            the worker keeps {', '.join(kept)}, which this shell has not set. To take it away: make down, make up"
        )
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
        print(f"the Prefect server at port {port} belongs to another folder, {home}")


def _list_other_homes() -> list[Path]:
    """The other Prefect folders of this user whose server or worker, started by us, runs: `make down` stops those of one folder."""
    homes = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid() and {"prefect", "start"} <= set(process.cmdline()):
                homes.add((Path(process.cwd()) / (process.environ().get("PREFECT_HOME") or Path.home() / ".prefect")).resolve())
    noted = {home: [server.process if (server := read_note(home)) else None, read_worker(home)] for home in homes}
    return sorted(home for home in homes - {prefect_home().resolve()} if any(one and one.runs for one in noted[home]))


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
        env=make_environment(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["up"]:
                up()
            case ["down"]:
                down()
            case _:
                sys.exit("usage: python -m deployments.local up|down")
    except ConvoforgeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")
