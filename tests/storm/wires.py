"""What a process hangs by, in the hands of a test: a line that can be cut, a server that can be killed and started again."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from watching import free_port, wait_for

from convoforge.simulator.client import SimulatorControl

Address = tuple[str, int] | str
"""Host and port, or the path of a socket."""


class Wire:
    """A line on loopback to a server: whoever connects to `port` talks to `target`, until it is cut.

    `swallow` looks at what a client says; where it says yes, the server hears it, and the line breaks before its answer is through.
    """

    def __init__(self, target: Address, swallow: Callable[[bytes], bool] = lambda _: False) -> None:
        self._target = target
        self._swallow = swallow
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = free_port()
        self.mend()

    def mend(self) -> None:
        """Let connections through (again)."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._cut = threading.Event()
        self._thread = threading.Thread(target=self._accept, args=(self._listener, self._cut), daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._cut.set()
        self._thread.join()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket, cut: threading.Event) -> None:
        with listener:
            while not cut.is_set():
                if select.select([listener], [], [], 0.02)[0]:
                    threading.Thread(target=self._carry, args=(listener.accept()[0],), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, self._dial() as server:
            with self._lock:
                self._open |= {client, server}
            swallowing = False
            with suppress(OSError):
                while ready := select.select([client, server], [], [])[0]:
                    if client in ready:
                        if not (said := client.recv(65536)):
                            break
                        swallowing = swallowing or self._swallow(said)
                        server.sendall(said)
                    if server in ready:
                        answer = server.recv(65536)
                        if not answer or swallowing:
                            break
                        client.sendall(answer)
            with self._lock:
                self._open -= {client, server}

    def _dial(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target)
        line = socket.socket(socket.AF_UNIX)
        line.connect(self._target)
        return line


@dataclass
class Prefect:
    """A Prefect server of one's own, on one port with one database however often it is started."""

    home: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Start it, and come back when it answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = {**os.environ, "PREFECT_HOME": str(self.home)}
        environment.pop("PREFECT_API_URL", None)
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers, "a Prefect server", 120)

    def kill(self) -> None:
        """End it and all that it has started, without a chance to tidy up."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5):
            return True
        return False


def pid_of(server: SimulatorControl) -> int:
    """The process of a simulator that this one has started."""
    port = int(server.url.rpartition(":")[2])
    [found] = [
        child.pid for child in psutil.Process().children() if port in [line.laddr.port for line in child.net_connections("tcp")]
    ]
    return found
