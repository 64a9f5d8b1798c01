"""Logs: a time, a level, one line an event, JSON on request."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from convoforge.errors import ConfigError
from convoforge.logs import ONE_LINE, read_log_format, set_up_logs

FORGED = "GET /x\r\n2026-01-01T00:00:00.000Z ERROR convoforge.api all keys leaked\x1b[2J\u202e"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(log_format: str, **extra: object) -> list[str]:
    stream = io.StringIO()
    set_up_logs(log_format, stream=stream)
    log = logging.getLogger("convoforge.api")
    log.warning("asked for %s", FORGED, extra=extra)
    try:
        raise KeyError(FORGED)
    except KeyError:
        log.exception("a fault of ours")
    log.debug("not shown")
    return stream.getvalue().splitlines()


def test_each_event_is_one_line_with_time_and_level() -> None:
    warning, error = logged("text", request="r1\nr2")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING convoforge\.api asked for GET /x\\r\\n2026", warning)
    assert warning.endswith("request=r1\\nr2")
    assert " ERROR convoforge.api a fault of ours | KeyError: " in error
    assert "test_logs.py" in error
    assert (warning + error).isprintable()


def test_each_event_is_one_json_object_where_that_is_asked_for() -> None:
    lines = logged("json", status=429)
    warning, error = map(json.loads, lines)
    assert warning["message"] == f"asked for {FORGED}"
    assert (warning["level"], warning["logger"], warning["status"]) == ("WARNING", "convoforge.api", 429)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", warning["time"])
    assert "Traceback" in error["exception"]
    assert "".join(lines).isprintable()


def test_the_format_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOFORGE_LOG", raising=False)
    assert read_log_format() == "text"
    monkeypatch.setenv("CONVOFORGE_LOG", "JSON")
    assert read_log_format() == "json"
    assert read_log_format("text") == "text"
    monkeypatch.setenv("CONVOFORGE_LOG", "xml")
    with pytest.raises(ConfigError, match="CONVOFORGE_LOG='xml' is no log format: write text or json"):
        read_log_format()


def test_a_logger_with_other_handlers_gets_one_line_too() -> None:
    stream = io.StringIO()
    log = logging.getLogger("somebody.else")
    log.propagate = False
    log.addHandler(logging.StreamHandler(stream))
    log.addFilter(ONE_LINE)
    log.warning("%s", FORGED)
    assert stream.getvalue() == f"{stream.getvalue().strip()}\n"
    assert "\\r\\n2026" in stream.getvalue()


def test_setting_up_twice_prints_once() -> None:
    stream = io.StringIO()
    set_up_logs("text", stream=stream)
    set_up_logs("text", stream=stream)
    logging.getLogger("x").warning("once")
    assert stream.getvalue().count("once") == 1
