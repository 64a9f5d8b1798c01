"""Commands as real processes whose imports are done. Prefect and the SDK take 3 to 7 s of CPU to import, in each of some 300 commands
of the suite, and what is below the command line another second; a process forked from one that has imported them takes none. The command
line itself is imported after the fork: it looks at its streams and its environment when it is imported, and nothing below it does.

Run as a program, this file is the process to fork from. It gets one line of JSON and four files for each command: standard input,
output, error, and a pipe that the exit status is written into.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LIBRARIES = (
    "aiohttp", "alembic", "anthropic", "cyclopts", "genai_prices", "httpx_aiohttp", "jinja2", "orjson", "pandas", "psutil",
    "pyarrow.compute", "pydantic_settings", "rich.live", "rich.table", "sqlalchemy.orm", "tenacity", "yaml",
    "convoforge.claude.client", "convoforge.dataset.forecast", "convoforge.dataset.release",
)  # fmt: skip
"""Without polars, whose threads a fork would lose. Those of pyarrow (jemalloc's) and numpy (OpenBLAS') are made for forks."""

PREFECT = (
    "convoforge.flows.build_dataset",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.flows",
    "prefect.tasks",
    "prefect.artifacts",
    "prefect.client.orchestration",
    "prefect.deployments",
    "prefect.events.worker",
)
"""Imported only where PREFECT_API_URL is set: Prefect reads its settings once, and commands set that one when they start a server."""

READ_BY_IMPORTS = ("PREFECT_", "PYTHON", "LC_", "LANG", "ANTHROPIC_LOG")
"""How the names of environment variables begin that an import reads: commands share a process only where these are equal."""

_first_seen: set[tuple[tuple[str, str], ...]] = set()
_parents: dict[tuple[tuple[str, str], ...], ForkServer] = {}


def start_command(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """`convoforge` with these arguments: a new process, or from the second with the same settings on, a forked one."""
    key = tuple(sorted(item for item in environment.items() if item[0].startswith(READ_BY_IMPORTS)))
    if sys.platform == "linux" and key in _first_seen:
        if key not in _parents:
            _parents[key] = ForkServer(environment)
        return ForkedCommand(_parents[key], arguments, folder, environment)
    _first_seen.add(key)
    return subprocess.Popen(
        [sys.executable, "-m", "convoforge", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_handle_ctrl_c,  # noqa: PLW1509 - it sets one signal, and takes no lock
    )


def stop_fork_servers() -> None:
    """What was started to fork from ends; commands that still run go on."""
    for parent in _parents.values():
        parent.stop()
    _parents.clear()


def _handle_ctrl_c() -> None:
    """A suite that was started in the background ignores Ctrl-C, and its children would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class ForkServer:
    """A running process of this file, and the way to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, __file__, str(number)]
            # streams of the kind that its commands get: Python has asked them what they can
            pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self._process = subprocess.Popen(command, env=environment, pass_fds=[number], **pipes)
        self._lock = threading.Lock()

    def fork(self, request: dict[str, object], files: Sequence[int]) -> int:
        """The process id of a command."""
        with self._lock:
            socket.send_fds(self._connection, [json.dumps(request).encode() + b"\n"], files)
            answer = self._connection.recv(64)
        assert answer, self._process.communicate()
        return int(answer)

    def stop(self) -> None:
        self._connection.close()
        self._process.communicate()


class ForkedCommand(subprocess.Popen[str]):
    """A command that was forked. It is no child of this process: its exit status comes through a pipe."""

    def __init__(self, parent: ForkServer, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        pipes = [os.pipe() for _ in range(3)]
        with Path(os.devnull).open("rb") as nothing:
            request = {"arguments": [*arguments], "folder": str(folder), "environment": {**environment}}
            self.pid = parent.fork(request, [nothing.fileno(), *(writing for _, writing in pipes)])
        for _, writing in pipes:
            os.close(writing)
        out, err, self._status = (reading for reading, _ in pipes)
        self.args, self.returncode, self.text_mode = arguments, None, True
        self.stdin, self.stdout, self.stderr = None, os.fdopen(out), os.fdopen(err)
        self._communication_started, self._input = False, None  # `Popen.communicate` needs them

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, 64)))
            os.close(self._status)
        return self.returncode


def _serve(connection: socket.socket) -> list[str]:
    """Fork for each request until nobody is there to ask. Returns in each child, with the arguments of its command."""
    import gc

    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    gc.collect()
    gc.freeze()
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with suppress(BrokenPipeError):
                        os.write(running[pid], str(status).encode())
                    os.close(running.pop(pid))
        if connection in ready:
            text, files, _, _ = socket.recv_fds(connection, 1 << 20, 4)
            if not text:
                os._exit(0)
            while not text.endswith(b"\n"):
                text += connection.recv(1 << 20)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                for inherited in (connection.detach(), woken, wake, files[3], *running.values()):
                    os.close(inherited)
                return _become(json.loads(text), files[:3])
            running[pid] = files.pop()
            for file in files:
                os.close(file)
            connection.sendall(str(pid).encode())


def _become(request: dict[str, object], files: list[int]) -> list[str]:
    """Be like a process that was started with ``python -m convoforge``."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    return request["arguments"]


if __name__ == "__main__":
    import runpy
    from importlib import import_module

    os.environ.setdefault(
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL"
    )  # as `convoforge build` does before it imports Prefect
    for name in (*LIBRARIES, *(PREFECT if "PREFECT_API_URL" in os.environ else ())):
        import_module(name)
    assert threading.active_count() == 1
    sys.argv[1:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("convoforge", run_name="__main__", alter_sys=True)
