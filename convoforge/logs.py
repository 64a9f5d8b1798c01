"""Logs of our own processes: a time, a level and one line for each event; as JSON where CONVOFORGE_LOG=json asks for it.

A logged text never makes a second line, whatever a caller or the API has put into it: see `printable_line`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, get_args

from convoforge.errors import ConfigError, shown
from convoforge.printable import escape_json, printable_line

LogFormat = Literal["text", "json"]

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def read_log_format(given: str | None = None) -> LogFormat:
    """What was asked for: `given`, else CONVOFORGE_LOG, else text. Raises `ConfigError` for anything else."""
    wanted = given or os.environ.get("CONVOFORGE_LOG") or "text"
    for known in get_args(LogFormat):
        if wanted.lower() == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(f"CONVOFORGE_LOG={shown(wanted)} is no log format: write text or json")


def set_up_logs(log_format: str | None = None, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send the logs of this process, ours and those of libraries, to `stream` (standard error if not given), each event on one line.

    For processes that are ours: a library must leave logging to whoever uses it. Uvicorn is told `log_config=None`, else it puts
    handlers of its own beside. Raises `ConfigError` for an unknown format.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if read_log_format(log_format) == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for client in ("httpx", "httpx2", "httpcore"):  # a line for each request to Prefect is no event of ours
        logging.getLogger(client).setLevel(max(level, logging.WARNING))


class TextFormatter(logging.Formatter):
    """``2026-11-26T09:40:11.123Z WARNING convoforge.api what happened key=value``, with an exception in short at its end."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        failure = f" | {_where(record.exc_info[1])}" if record.exc_info and record.exc_info[1] else ""
        line = f"{_time(record)} {record.levelname} {record.name} {record.getMessage()}{extra}{failure}"
        return printable_line(line)


class JsonFormatter(logging.Formatter):
    """One JSON object: `time`, `level`, `logger`, `message`, what was given as `extra`, and `exception` with its whole traceback."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info and record.exc_info[1]:
            event["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        return escape_json(json.dumps(event, ensure_ascii=False, default=str))


class OneLine(logging.Filter):
    """For loggers whose handlers are not ours, as Prefect's: the event's text becomes one line before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable_line(record.getMessage()), None
        return True


ONE_LINE = OneLine()
"""One for all: a logger takes the same filter only once."""


def _time(record: logging.LogRecord) -> str:
    return f"{datetime.fromtimestamp(record.created, UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _OWN}


def _where(error: BaseException) -> str:
    """The exception and the last three places it came through, the innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__}: {error}{f' ({places})' if places else ''}"
