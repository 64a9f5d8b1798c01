"""Runs a simulator in a child process, which ends with this one."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from convoforge.errors import ConvoforgeError
from convoforge.simulator.options import SimulatorOptions

START_SECONDS = 30.0
STOP_SECONDS = 5.0


@contextmanager
def simulator_process(**options: Any) -> Iterator[str]:
    """Run a simulator with these `SimulatorOptions` in a process of its own, and yield its base URL.

    It ends with the context, and also if this process is killed: then its end of a pipe closes. It runs in its own session, so
    that Ctrl-C in the terminal does not reach it while its clients drain. Raises ConfigError for invalid options, and
    ConvoforgeError with its last message if it does not start.
    """
    arguments = json.dumps(asdict(SimulatorOptions(**options, until_stdin_closes=True)))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "convoforge.simulator", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            line = _read_first_line(process)
            if not line:
                errors.seek(0)
                last = errors.read().decode(errors="replace").split("\n")[-2:][0].removeprefix("error: ")
                raise ConvoforgeError(f"the simulator did not start: {last or f'it was silent for {START_SECONDS:g} s'}")
            yield str(json.loads(line)["url"])
        finally:
            _stop(process)


def _read_first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The line it prints once it listens; empty if it ended or took longer than `START_SECONDS`."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(START_SECONDS) else b""


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
