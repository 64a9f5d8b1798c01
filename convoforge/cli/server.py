"""The embedded Prefect server: found or started, shared by builds that run at the same time, stopped by the last of them.

`PREFECT_API_URL` names a server to use instead. `make up` starts one that stays. Who uses the server holds a lock on a file,
which the operating system lets go of when a process dies, however it dies: so nobody has to be asked who is still there.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import getproxies_environment

import psutil

from convoforge.errors import ConfigError, ConvoforgeError

START_SECONDS = 120.0
"""A first start migrates Prefect's database; it takes about 13 s on two idle cores."""

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process that we started in a session of its own. Its pid may be somebody else's later on: hence the time it began."""

    pid: int
    began: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def runs(self) -> bool:
        """Whether it is still at work."""
        try:
            found = psutil.Process(self.pid)
            return self._is(found) and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def end(self, seconds: float) -> bool:
        """Ask its whole session to end, and make it after `seconds`. Returns whether there was anything to end."""
        with suppress(psutil.NoSuchProcess):  # then what it left behind may still be there, and no stranger can have its group
            if not self._is(psutil.Process(self.pid)):
                return False
        if not self._send(signal.SIGTERM):
            return False
        deadline = time.monotonic() + seconds
        while self.runs and time.monotonic() < deadline:
            time.sleep(0.05)
        self._send(signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        return True

    def _send(self, number: signal.Signals) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _is(self, found: psutil.Process) -> bool:
        return abs(found.create_time() - self.began) < 2


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where; its process if we started it; and whether it stays when builds are done."""

    url: str
    process: Process | None = None
    stays: bool = False


def prefect_home() -> Path:
    """Prefect's folder: its database, and here what we note about the server."""
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()


@contextmanager
def use_server(starting: Callable[[], None] = lambda: None) -> Iterator[Server]:
    """A Prefect server to run a flow against; `PREFECT_API_URL` leads to it inside. `starting` is called if one must be started.

    Raises `ConfigError` where `PREFECT_API_URL` names a server that does not answer, `ConvoforgeError` where none can be started.
    """
    pass_proxies_by()
    named = os.environ.get("PREFECT_API_URL")
    if named:
        if not _speaks(named):
            raise ConfigError(f"no Prefect server answers at PREFECT_API_URL={named}: start it, or unset the variable")
        yield Server(named)
        return
    home = prefect_home()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "convoforge-server.users").open("a") as users:
        try:
            with _locked(home):
                fcntl.flock(users, fcntl.LOCK_SH)
                server = _find(home) or _start(home, starting, stays=False)
            os.environ["PREFECT_API_URL"] = server.url
            yield server
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            with _locked(home):
                fcntl.flock(users, fcntl.LOCK_UN)
                _stop_unused(home)


def start_server(starting: Callable[[], None] = lambda: None) -> Server:
    """A server that stays: the one that runs already, or a new one; `starting` is called first then."""
    pass_proxies_by()
    home = prefect_home()
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        server = _find(home)
        if server is None:
            return _start(home, starting, stays=True)
        if server.process is not None:
            _note(home, replace(server, stays=True))
        return server


def stop_server() -> Literal["stopped", "in use", "none"]:
    """End the server that we started; one that builds still use ends with the last of them."""
    home = prefect_home()
    if not home.is_dir():
        return "none"
    with _locked(home):
        server = _noted(home)
        if server is None or server.process is None or not server.process.runs:
            return "none"
        _note(home, replace(server, stays=False))
        _stop_unused(home)
        return "in use" if server.process.runs else "stopped"


def pass_proxies_by() -> None:
    """Where a proxy is set for everything, what listens on this machine is reached directly all the same: by us and by children."""
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if not getproxies_environment().keys() - {"no"} or listed == "*":
        return
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    hosts += [host for host in ("127.0.0.1", "localhost") if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "convoforge-server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _find(home: Path) -> Server | None:
    noted = _noted(home)
    if noted is not None and noted.process is not None:
        if noted.process.runs:
            _await(home, noted, noted.process)  # a build may have been killed while it waited for it
            return noted
        noted.process.end(STOP_SECONDS)
    usual = _url(_usual_port())
    return Server(usual) if _home_of(usual) == home.resolve() else None


def _stop_unused(home: Path) -> None:
    server = _noted(home)
    if server is None or server.stays or server.process is None:
        return
    with (home / "convoforge-server.users").open("a") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else is at work
    _forget(home)
    server.process.end(STOP_SECONDS)


def _start(home: Path, starting: Callable[[], None], *, stays: bool) -> Server:
    starting()
    usual = _usual_port()
    port = usual if usual and _free(usual) else _any_port()
    environment = {**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    environment.pop("PREFECT_API_URL", None)
    # The server must outlive a Ctrl-C at the terminal: the run is still draining and reports to it. Hence a session of its own.
    with _log(home).open("ab") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )
    try:  # from here on: whatever ends the wait, Ctrl-C too, nothing is left behind
        process = Process.of(started.pid)
        server = Server(_url(port), process, stays)
        _note(home, server)
        _await(home, server, process)
    except BaseException:
        _forget(home)
        Process.of(started.pid).end(1.0)
        raise
    return server


def _await(home: Path, server: Server, process: Process) -> None:
    """Wait until a server answers. Raises `ConvoforgeError` if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(server.url):
        if not process.runs or time.monotonic() > deadline:
            raise ConvoforgeError(f"the local Prefect server did not start; its last words are in {_log(home)}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    return _get(f"{url}/health") is True


def _home_of(url: str) -> Path | None:
    """The Prefect folder of the server at an address, if one is there: another's server would be gone when its owner is done."""
    settings = _get(f"{url}/admin/settings")
    return Path(str(settings.get("home"))).expanduser().resolve() if isinstance(settings, dict) else None


def _speaks(url: str) -> bool:
    """Whether a server is at an address at all: one that wants a key says so to Prefect, which has it."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10):
            return True
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def _noted(home: Path) -> Server | None:
    try:
        words = json.loads((home / "convoforge-server.json").read_text())
        return Server(words["url"], Process(**words["process"]), words["stays"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _note(home: Path, server: Server) -> None:
    (home / "convoforge-server.json").write_text(json.dumps(asdict(server)))


def _forget(home: Path) -> None:
    (home / "convoforge-server.json").unlink(missing_ok=True)


def _log(home: Path) -> Path:
    return home / "convoforge-server.log"


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
