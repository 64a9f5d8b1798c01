"""`make up` and `make down`: Prefect server, work pool, deployments and a worker on this machine, and all of it gone again.

On other machines the same four commands do it: see README.md beside this file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from convoforge.cli.server import prefect_home, start_server, stop_server

ROOT = Path(__file__).resolve().parent.parent
POOL = "convoforge"


def up() -> None:
    """Start what is not running yet, and register the deployments."""
    print("starting the Prefect server (the first start takes about 15 s) …", flush=True)
    server = start_server()
    os.environ["PREFECT_API_URL"] = server.url
    _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    pid = _worker_pid()
    if pid is None:
        pid = _start_worker()
    ui = server.url.removesuffix("/api")
    print(f"\nPrefect UI  {ui}\nworker      pid {pid}, log {_log()}\n")
    print("Try: .venv/bin/prefect deployment run 'build-dataset/build' -p spec=demo -p simulate=true --watch")
    if not server.url.startswith("http://127.0.0.1:4200/"):
        print(f"in a shell with: export PREFECT_API_URL={server.url}")
    print("Stop it all with: make down")


def down() -> None:
    """Stop the worker, then the server. The worker lets its runs drain."""
    pid = _worker_pid()
    if pid is not None:
        print("stopping the worker, letting its runs drain …", flush=True)
        _end(pid)
    _pid_file().unlink(missing_ok=True)
    print("stopped" if stop_server() or pid is not None else "nothing was running")


def _prefect(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "prefect", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


def _start_worker() -> int:
    with _log().open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", "local"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    time.sleep(2)
    if worker.poll() is not None:
        sys.exit(f"the worker ended at once; its last words are in {_log()}")
    _pid_file().write_text(str(worker.pid))
    return worker.pid


def _worker_pid() -> int | None:
    try:
        pid = int(_pid_file().read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(600):
            os.kill(pid, 0)
            time.sleep(0.2)
        os.killpg(pid, signal.SIGKILL)


def _pid_file() -> Path:
    return prefect_home() / "convoforge-worker.pid"


def _log() -> Path:
    return prefect_home() / "convoforge-worker.log"


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]]()
