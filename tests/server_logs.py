"""What Prefect's servers write into their logs while tests run. An error there fails the test: nobody else would see it, as with the
scheduler that failed once a minute, for months."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convoforge.orchestration.server_log import measure_log, read_errors

_read: dict[Path, int] = {}


def watch_log(log: Path) -> None:
    """From now on, errors in this log count; it need not exist yet."""
    _read.setdefault(log, 0)


def new_errors() -> list[str]:
    """The records that tell of an error, of those that were written into the logs since the last time."""
    found = []
    for log, start in _read.items():
        _read[log] = measure_log(log)
        found += [f"{log}:\n{record}" for record in read_errors(log, start)]
    return found


@contextmanager
def output_into(log: Path) -> Iterator[None]:
    """What processes that are started meanwhile print goes into a file, for as long as they run."""
    log.touch()
    watch_log(log)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    with log.open("ab") as file:
        for number in kept:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
