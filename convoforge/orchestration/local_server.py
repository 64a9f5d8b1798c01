"""The embedded Prefect server: found or started, shared by builds that run at the same time, stopped some minutes after the last.

`PREFECT_API_URL` names a server to use instead. `make up` starts one that stays. Who uses the server holds a lock on a file,
which the operating system lets go of when a process dies, however it dies: so nobody has to be asked who is still there. The file's
time says since when nobody is; a process of its own (see `idle_server`) looks at both, and ends the server.

A server that we start answers only who brings its auth string (see `server_home`), and web pages of its own origin.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.request import getproxies_environment

import psutil

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.orchestration.processes import Process, any_free_port, find_listener, is_free
from convoforge.orchestration.server_api import admits, answers, speaks
from convoforge.orchestration.server_home import (
    AUTH,
    URL,
    Server,
    access_to,
    auth_path,
    find_access,
    forget_note,
    log_path,
    make_auth,
    make_home,
    open_private,
    prefect_home,
    read_note,
    write_note,
)
from convoforge.orchestration.server_log import measure_log

START_SECONDS = 120.0
"""A first start migrates Prefect's database; it takes about 13 s on two idle cores."""

STOP_SECONDS = 10.0


@contextmanager
def use_server(
    starting: Callable[[], None] = lambda: None,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    idle_seconds: float = 0.0,
) -> Iterator[Server]:
    """A Prefect server to run a flow against; the environment leads to it inside. `starting` is called if one must be started, then
    `meanwhile`, in a thread, while that one comes up. One that we start goes on for `idle_seconds` when nobody uses it any more.

    Raises `ConfigError` where `PREFECT_API_URL` names a server that does not answer, `ConvoforgeError` where none can be started.
    """
    pass_proxies_by()
    named = os.environ.get(URL)
    if named:
        if not speaks(named):
            raise ConfigError(f"no Prefect server answers at PREFECT_API_URL={named}: start it, or unset the variable")
        with _environment(find_access(os.environ)):
            auth = os.environ.get(AUTH)
            if auth and not admits(named, auth):
                raise ConfigError(
                    f"the Prefect server at {named} does not take PREFECT_API_AUTH_STRING: set it to the server's own"
                )
            yield Server(named)
        return
    home = make_home()
    with open_private(home / "convoforge-server.users", "a") as users:
        try:
            with _locked(home):
                fcntl.flock(users, fcntl.LOCK_SH)
                server = _find(home) or _start(home, starting, meanwhile, idle_seconds)
                server = _let_go_on(home, server, idle_seconds)
            with _environment(access_to(server, home)):
                yield server
        finally:
            with _locked(home):
                os.utime(users.fileno())
                fcntl.flock(users, fcntl.LOCK_UN)
                _end_idle(home)


def start_server(starting: Callable[[], None] = lambda: None) -> Server:
    """A server that stays: the one that runs already, or a new one; `starting` is called first then."""
    pass_proxies_by()
    home = make_home()
    with _locked(home):
        server = _find(home)
        if server is None:
            return _start(home, starting, lambda: None, None)
        if server.process is not None:
            write_note(home, replace(server, idle_seconds=None))
        return server


def stop_server() -> Literal["stopped", "in use", "none"]:
    """End the server that we started; one that builds still use ends with the last of them. Raises `ConfigError` for a folder that cannot
    be used."""
    if not prefect_home().is_dir():
        return "none"
    home = make_home()
    with _locked(home):
        server = read_note(home)
        if server is None or server.process is None or not server.process.runs:
            return "none"
        write_note(home, replace(server, idle_seconds=0.0))
        _end_idle(home)
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
    with open_private(home / "convoforge-server.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, for as long as it lasts: Prefect and child processes read them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _find(home: Path) -> Server | None:
    noted = read_note(home)
    if noted is not None and noted.process is not None:
        if noted.process.runs:
            _await(home, noted, noted.process)  # a build may have been killed while it waited for it
            _check_access(noted, access_to(noted, home))
            return noted
        noted.process.end(STOP_SECONDS)
    port = usual_port()
    if find_server(port) != home.resolve() or not answers(_url(port)):
        return None
    server = Server(_url(port))
    _check_access(server, os.environ)
    return server


def find_server(port: int) -> Path | None:
    """The Prefect folder of the server that this user runs on a port, if it is one. The process is asked, not what answers there:
    another user's server could say what it likes, and would be told what our runs do."""
    listener = find_listener(port)
    if listener is None:
        return None
    try:
        if not any("prefect" in part for part in listener.cmdline()):
            return None
        home = Path(listener.environ().get("PREFECT_HOME") or "~/.prefect").expanduser()
        return (Path(listener.cwd()) / home).resolve()
    except psutil.Error:
        return None


def watch_idle_server(home: Path) -> bool:
    """End the server if nobody has used it for as long as was wanted. Returns whether there is still something to watch."""
    with _locked(home):
        _end_idle(home)
        server = read_note(home)
        return server is not None and server.process is not None and server.process.runs and server.idle_seconds is not None


def _let_go_on(home: Path, server: Server, idle_seconds: float) -> Server:
    """The server, with somebody to end it when it has been idle for so long, or for as long as others have said."""
    if server.process is None or server.idle_seconds is None or not idle_seconds:
        return server
    server = replace(server, idle_seconds=max(server.idle_seconds, idle_seconds))
    write_note(home, server)
    with open_private(home / "convoforge-server.watcher", "a") as watcher:
        try:
            fcntl.flock(watcher, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return server  # one is at it
    nowhere = subprocess.DEVNULL
    command = [sys.executable, "-m", "convoforge.orchestration.idle_server", str(home)]
    subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    return server


def _end_idle(home: Path) -> None:
    server = read_note(home)
    if server is None or server.idle_seconds is None or server.process is None:
        return
    with open_private(home / "convoforge-server.users", "a") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody is at work, who may be killed
            os.utime(users.fileno())
            return
        if time.time() - os.fstat(users.fileno()).st_mtime < server.idle_seconds:
            return
    forget_note(home)
    server.process.end(STOP_SECONDS)


def _start(home: Path, starting: Callable[[], None], meanwhile: Callable[[], None], idle_seconds: float | None) -> Server:
    starting()
    usual = usual_port()
    port = usual if usual and is_free(usual) else any_free_port()
    for database in home.glob("prefect.db*"):  # one of before may be open to others
        database.chmod(0o600)
    # The server must outlive a Ctrl-C at the terminal: the run is still draining and reports to it. Hence a session of its own.
    log_start = measure_log(log_path(home))
    with open_private(log_path(home), "ab") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=_server_environment(os.environ, port, make_auth(home)),
            umask=0o077,  # its database says what was run with which parameters
            start_new_session=True,
        )
    try:  # from here on: whatever ends the wait, Ctrl-C too, nothing is left behind
        process = Process.of(started.pid)
        server = Server(_url(port), process, idle_seconds, log_start)
        write_note(home, server)
        with _environment(access_to(server, home)):
            beside = threading.Thread(target=meanwhile, daemon=True)
            beside.start()
            _await(home, server, process)
            beside.join()
    except BaseException:
        forget_note(home)
        Process.of(started.pid).end(1.0)
        raise
    return server


def _server_environment(environment: Mapping[str, str], port: int, auth: str) -> dict[str, str]:
    """The environment of a server that we start: closed to others, and with a log of its own level, whatever its starter shows."""
    of_clients = {URL, AUTH, "PREFECT_API_KEY"} | {name for name in environment if name.startswith("PREFECT_LOGGING_")}
    kept = {
        name: environment[name]
        for name in environment.keys() - of_clients | {"PREFECT_LOGGING_SERVER_LEVEL"} & environment.keys()
    }
    origins = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")]  # both are the UI's own, as people write it
    return {
        **kept,
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_UI_API_URL": _url(port),  # else a prefect.toml in the current folder says where the UI looks
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_PLUGINS_ENABLED": "false",
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",  # `prefect deployment run --watch` then prints what a run logs
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "DO_NOT_TRACK": "1",
    }


def _await(home: Path, server: Server, process: Process) -> None:
    """Wait until a server answers. Raises `ConvoforgeError` if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(server.url):
        if not process.runs or time.monotonic() > deadline:
            raise ConvoforgeError(f"the local Prefect server did not start; see the end of {log_path(home)}")
        time.sleep(0.2)


def _check_access(server: Server, access: Mapping[str, str]) -> None:
    """Raises `ConfigError` where a running server does not take the auth string that we have for it."""
    if admits(server.url, access.get(AUTH)):
        return
    if server.process is not None:
        raise ConfigError(
            f"the Prefect server at {server.url} does not take the auth string in {auth_path(prefect_home())}, which has changed "
            "since it was started: stop it with `make down`, and start again"
        )
    raise ConfigError(f"the Prefect server at {server.url} wants an auth string: set PREFECT_API_AUTH_STRING to it")


def usual_port() -> int:
    """Where a server listens, if nothing else does. Raises `ConfigError` where the variable holds no port."""
    text = os.environ.get("PREFECT_SERVER_API_PORT", "4200")
    if not (text.isdecimal() and 0 < int(text) <= 65_535):
        raise ConfigError(f"PREFECT_SERVER_API_PORT={text} is no port: write a number from 1 to 65535, or unset the variable")
    return int(text)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"
