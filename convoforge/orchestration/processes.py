"""Processes that we started, and the one that listens on a port."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil


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


def is_free(port: int) -> bool:
    """Whether something of ours could listen on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def any_free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_listener(port: int) -> psutil.Process | None:
    """The process of this user that listens on a port; none where nothing does, or somebody else's."""
    if not port or is_free(port):
        return None
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid() and any(
                one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in process.net_connections("tcp")
            ):
                return process
    return None
