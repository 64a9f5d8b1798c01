"""What Prefect's servers write into their logs while tests run. An error there fails the test: nobody else would see it, as with the
scheduler that failed once a minute, for months."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECORD = re.compile(r"^(?=\d\d:\d\d:\d\d\.\d{3} \| )", re.MULTILINE)
ERROR = re.compile(r"\| (ERROR|CRITICAL) +\||^Traceback \(most recent call last\)|service failed", re.MULTILINE)
EXPECTED = (
    "database is locked",  # SQLite refuses a write while another is at work, on a busy machine now and then: it is tried again
    "concurrency_limit_v2.name",  # two that make one limit at once: the second is told 409, and uses the first one's
)
"""What Prefect logs as an error and answers as its callers expect."""

_read: dict[Path, int] = {}


def watch_log(log: Path) -> None:
    """From now on, errors in this log count; it need not exist yet."""
    _read.setdefault(log, 0)


def new_errors() -> list[str]:
    """The records that tell of an error, of those that were written into the logs since the last time."""
    found = []
    for log, start in _read.items():
        if not log.exists():
            continue
        with log.open(errors="replace") as file:
            file.seek(start)
            text = file.read()
            _read[log] = file.tell()
        found += [f"{log}:\n{record}" for record in RECORD.split(text) if is_error(record)]
    return found


def is_error(record: str) -> bool:
    """Whether a record of a server's log is one that somebody must look into."""
    return bool(ERROR.search(record)) and not any(text in record for text in EXPECTED)


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
