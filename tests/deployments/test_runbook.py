"""Every command of RUNBOOK.md works: all of them are run, in order, in a project of their own with its own Prefect server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import Done
from watching import free_port, prefect_home

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)```", (ROOT / "RUNBOOK.md").read_text(), re.DOTALL | re.MULTILINE)
COMMANDS = [line.partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]

ENDED_SHORT = 3
SIMULATED = (
    (r"convoforge build \w+", "--simulate"),
    (r"convoforge plan \w+", "--simulate"),
    (r"convoforge (costs|show \w+|publish \w+|errors demo)", "--simulated"),
)
"""What makes a command ask nobody for money: there is no key, and no network."""


@dataclass(frozen=True)
class Operator:
    """A person in a project's folder, with a Prefect home of their own."""

    folder: Path
    environment: dict[str, str]

    def type(self, command: str) -> Done:
        """Run a line of the runbook as it stands there, but simulated. RUN is the newest run, ID Prefect's newest."""
        for pattern, option in SIMULATED:
            command = re.sub(pattern, rf"\g<0> {option}", command)
        if re.search(r"\bRUN\b", command):
            command = re.sub(r"\bRUN\b", self.newest(), command)
        if command.startswith("make "):
            command = command.replace("make ", "make -o .venv/.ready ")  # whoever tests has set it up
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def newest(self) -> str:
        """The id of the newest run in the ledger."""
        runs = self.type(".venv/bin/convoforge status --json").last["runs"]
        return str(runs[0]["run_id"])


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "deployments", "prefect.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "convoforge.toml").touch()
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    spec = tmp_path / "configs" / "datasets" / "demo.yaml"
    spec.write_text(spec.read_text().replace("sample: 60", "sample: 12"))
    environment = {
        **os.environ,
        "CONVOFORGE_DATA_DIR": str(tmp_path / "data"),
        "CONVOFORGE_CONFIG_DIR": str(tmp_path / "configs"),
        "PREFECT_HOME": str(prefect_home(tmp_path / "prefect")),
        "PREFECT_SERVER_API_PORT": str(free_port()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_PLUGINS_ENABLED": "true",
    }
    made = Operator(tmp_path, environment)
    yield made
    made.type("make down")


@pytest.mark.parametrize("command", [line for line in COMMANDS if "/convoforge " in line], ids=str)
def test_every_option_exists(command: str, run_here: Callable[..., Done]) -> None:
    name = re.findall(r"/convoforge (\w+)", command)[0]
    known = run_here(name, "--help").out
    for option in re.findall(r"--[a-z-]+", command):
        assert option in known


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_command_works(operator: Operator) -> None:
    assert operator.type("make up").code == 0
    assert operator.type(".venv/bin/convoforge build demo").code == 0
    failed = []
    for command in COMMANDS:
        if command.endswith("cancel ID"):  # a run that goes on: one that would start tomorrow
            started = operator.type(".venv/bin/prefect deployment run build-dataset/build -p spec=demo --start-in '1 day'")
            command = command.replace("ID", re.findall(r"UUID: (\S+)", started.out)[0])
        done = operator.type(command)
        fine = done.code in (0, ENDED_SHORT) or "doctor" in command  # which finds no key
        if not fine or "Traceback" in done.err:
            failed.append((command, done))
    assert not failed, failed
