"""What the Prefect server that we started has written into its log about its own faults. A scheduler that fails says so there alone."""

from __future__ import annotations

import re
from pathlib import Path

_RECORD = re.compile(r"^(?=\d\d:\d\d:\d\d\.\d{3} \| )", re.MULTILINE)
_ERROR = re.compile(r"\| (ERROR|CRITICAL) +\||^Traceback \(most recent call last\)|service failed", re.MULTILINE)
_EXPECTED = (
    "database is locked",  # SQLite refuses a write while another is at work, on a busy machine now and then: it is tried again
    "concurrency_limit_v2.name",  # two that make one limit at once: the second is told 409, and uses the first one's
)
"""What Prefect logs as an error and answers as its callers expect."""

_MAX_BYTES = 1_000_000
"""Maximum bytes of a log that are read, from its end: that of a server that stays may have grown for months."""


def measure_log(log: Path) -> int:
    """The bytes of a log so far; 0 where there is none."""
    return log.stat().st_size if log.exists() else 0


def read_errors(log: Path, start: int = 0) -> list[str]:
    """The records that tell of an error, of those written since the log had `start` bytes, oldest first."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(start, measure_log(log) - _MAX_BYTES))
        text = file.read().decode(errors="replace")
    return [record for record in _RECORD.split(text) if is_error(record)]


def is_error(record: str) -> bool:
    """Whether a record of a server's log is one that somebody must look into."""
    return bool(_ERROR.search(record)) and not any(text in record for text in _EXPECTED)


def summarize_errors(log: Path, start: int = 0) -> str | None:
    """One sentence on the errors since then, None without any: how many, the last of them, and where they are."""
    errors = read_errors(log, start)
    if not errors:
        return None
    lines = [line.strip() for line in errors[-1].splitlines() if line.strip()]
    first = lines[0].rpartition(" | ")[2]
    cause = lines[-1] if len(lines) > 1 and lines[-1] not in first else ""
    last = " ".join(f"{first} {cause}".split())[:300]
    many = "an error" if len(errors) == 1 else f"{len(errors)} errors, the last"
    return f"the Prefect server logged {many}: {last} (see {log})"
