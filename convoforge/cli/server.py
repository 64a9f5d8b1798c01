"""The embedded Prefect server: found or started, shared by builds that run at the same time, stopped by the last of them.

`PREFECT_API_URL` names a server to use instead. `convoforge up` starts one that stays. Who uses the server holds a lock on a
file, which the operating system lets go of when a process dies, however it dies: so nobody has to be asked who is still there.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from convoforge.errors import ConfigError, ConvoforgeError

START_SECONDS = 120.0
"""A first start migrates Prefect's database; it takes about 13 s on two idle cores."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where; its pid if we started it; and whether it stays when builds are done."""

    url: str
    pid: int | None = None
    stays: bool = False


def prefect_home() -> Path:
    """Prefect's folder: its database, and here what we note about the server."""
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()


@contextmanager
def use_server() -> Iterator[Server]:
    """A Prefect server to run a flow against; `PREFECT_API_URL` leads to it inside.

    Raises `ConfigError` where `PREFECT_API_URL` names a server that does not answer.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        if not _answers(named):
            raise ConfigError(f"no Prefect server answers at PREFECT_API_URL={named}: start it, or unset the variable")
        yield Server(named)
        return
    home = prefect_home()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "convoforge-server.users").open("a") as users:
        with _locked(home):
            fcntl.flock(users, fcntl.LOCK_SH)
            server = _find(home) or _start(home, stays=False)
        os.environ["PREFECT_API_URL"] = server.url
        try:
            yield server
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            with _locked(home):
                _leave(home, users)


def start_server() -> Server:
    """A server that stays: the one that runs already, or a new one."""
    home = prefect_home()
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        server = _find(home)
        if server is None:
            return _start(home, stays=True)
        if server.pid is not None:
            _note(home, Server(server.url, server.pid, stays=True))
        return server


def stop_server() -> bool:
    """Stop the server that we started, if one runs. Returns whether there was one."""
    home = prefect_home()
    if not home.is_dir():
        return False
    with _locked(home):
        server = _noted(home)
        _forget(home)
        return server is not None and server.pid is not None and _kill(server.pid)


def server_running() -> bool:
    """Whether a build would find a server instead of starting one."""
    return bool(os.environ.get("PREFECT_API_URL")) or _find(prefect_home()) is not None


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "convoforge-server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _find(home: Path) -> Server | None:
    noted = _noted(home)
    if noted is not None and _answers(noted.url):
        return noted
    usual = _url(_usual_port())
    return Server(usual) if _answers(usual) else None


def _leave(home: Path, users: IO[str]) -> None:
    fcntl.flock(users, fcntl.LOCK_UN)
    server = _noted(home)
    if server is None or server.stays or server.pid is None:
        return
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # somebody else is at work
    _forget(home)
    _kill(server.pid)


def _start(home: Path, *, stays: bool) -> Server:
    usual = _usual_port()
    port = usual if usual and _free(usual) else _any_port()
    environment = {**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    environment.pop("PREFECT_API_URL", None)
    # The server must outlive a Ctrl-C at the terminal: the run is still draining and reports to it. Hence a session of its own.
    log = home / "convoforge-server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )
    server = Server(_url(port), process.pid, stays)
    _note(home, server)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _answers(server.url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ConvoforgeError(f"the local Prefect server did not start; its last words are in {log}")
            time.sleep(0.2)
    except BaseException:  # also Ctrl-C: what was started is stopped
        _forget(home)
        _kill(process.pid)
        raise
    return server


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5) as response:
            return bool(json.load(response) is True)
    except (OSError, ValueError):
        return False


def _noted(home: Path) -> Server | None:
    try:
        return Server(**json.loads((home / "convoforge-server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _note(home: Path, server: Server) -> None:
    words = {"url": server.url, "pid": server.pid, "stays": server.stays}
    (home / "convoforge-server.json").write_text(json.dumps(words))


def _forget(home: Path) -> None:
    (home / "convoforge-server.json").unlink(missing_ok=True)


def _kill(pid: int) -> bool:
    """End a server and what it started: its session has its pid."""
    try:
        os.killpg(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return False
    for _ in range(100):
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return True


def _usual_port() -> int:
    return int(os.environ.get("PREFECT_SERVER_API_PORT", "4200"))


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
