"""Machines of a network of their own: Linux network namespaces on one bridge, from which nothing else can be reached.

Where they cannot be made (no Linux, no root), all of them are this machine, and no network can be cut.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watching import free_port

ROOT = Path(__file__).resolve().parent.parent
GUARD = ROOT / "tests" / "guard"
UNSET = ("ANTHROPIC_", "CONVOFORGE_", "PREFECT_", "AWS_")


@dataclass
class Machine:
    """A machine with a folder, an address and an environment of its own, on which commands run in the repository's folder."""

    name: str
    address: str
    folder: Path
    namespace: str | None
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def start(self, script: str, log: str) -> subprocess.Popen[Any]:
        """A shell script that goes on by itself. What it prints is in the file `log` of the machine's folder."""
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(
                self._command(script), stdout=output, stderr=output, start_new_session=True, **self._where()
            )
        self.started.append(process)
        return process

    def run(self, script: str, timeout: float = 240) -> str:
        """What a shell script prints, which has to succeed."""
        done = subprocess.run(
            self._command(script), capture_output=True, text=True, timeout=timeout, check=False, **self._where()
        )
        assert done.returncode == 0, f"{self.name}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def reaches(self, url: str) -> bool:
        """Whether something answers there."""
        ask = f"python -c \"import urllib.request as one; one.urlopen('{url}', timeout=5)\""
        return subprocess.run(self._command(ask), capture_output=True, check=False, **self._where()).returncode == 0

    def read(self, log: str) -> str:
        """What a started script has printed so far."""
        path = self.folder / log
        return path.read_text(errors="replace") if path.exists() else ""

    def _command(self, script: str) -> list[str]:
        if self.namespace is None:
            return ["bash", "-c", script]
        named = f'hostname {self.name}; exec bash -c "$0"'
        return ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "bash", "-c", named, script]

    def _where(self) -> dict[str, Any]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(UNSET) and name != "PYTHONPATH"}
        guard = {"PYTHONPATH": str(GUARD)} if self.namespace is None else {}  # a namespace has no way out
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return {"cwd": ROOT, "env": {**kept, **guard, **path, "DO_NOT_TRACK": "1", **self.environment}}


class Network:
    """Makes machines and takes them away."""

    def __init__(self, folder: Path) -> None:
        self.apart = can_be_apart()
        self._folder = folder
        self._machines: list[Machine] = []
        self._hub = f"cf{os.getpid()}-hub"
        if self.apart:
            _ip("netns", "add", self._hub)
            _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self._hub, "link", "set", "bridge", "up")

    def add(self, name: str) -> Machine:
        """A machine that reaches all others."""
        folder = self._folder / name
        folder.mkdir()
        machine = Machine(name, "127.0.0.1", folder, None)
        if self.apart:
            machine.namespace = f"cf{os.getpid()}-{name}"
            machine.address = f"10.77.0.{len(self._machines) + 1}"
            _ip("netns", "add", machine.namespace)
            _ip("-n", self._hub, "link", "add", name, "type", "veth", "peer", "name", "net", "netns", machine.namespace)
            _ip("-n", self._hub, "link", "set", name, "master", "bridge", "up")
            _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", "net")
            for link in ("lo", "net"):
                _ip("-n", machine.namespace, "link", "set", link, "up")
        machine.environment = {"HOME": str(folder), "PREFECT_HOME": str(folder / "prefect"), "TMPDIR": str(folder)}
        self._machines.append(machine)
        return machine

    def cut(self, machine: Machine) -> None:
        """Pull a machine's plug: what it sends goes nowhere, and nobody is told."""
        _ip("-n", self._hub, "link", "set", machine.name, "down")

    def mend(self, machine: Machine) -> None:
        """Put the plug in again."""
        _ip("-n", self._hub, "link", "set", machine.name, "up")

    def port(self, usual: int) -> int:
        """A port for a server: the usual one where machines are apart."""
        return usual if self.apart else free_port()

    def close(self) -> None:
        """End all that runs on the machines, and take them away."""
        for machine in reversed(self._machines):
            for process in machine.started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if machine.namespace:
                for pid in _ip("netns", "pids", machine.namespace).split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                _ip("netns", "delete", machine.namespace)
        if self.apart:
            _ip("netns", "delete", self._hub)


def can_be_apart() -> bool:
    """Whether network namespaces can be made here."""
    if sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("unshare")):
        return False
    name = f"cf{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _ip("netns", "delete", name)
    return made


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
