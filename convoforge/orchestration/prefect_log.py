"""A filter for what Prefect itself writes into the log of a run."""

from __future__ import annotations

import logging
import re

_AGAIN = re.compile(r"Task run failed with state: ")
"""Repeated, with the reason, in the line about the end of the task run."""

_AS_ASKED = re.compile(r"Finished in state (Cancell(ed|ing)|Paused|Suspended)\b")
"""States that somebody has asked for: no errors."""


class PrefectLogFilter(logging.Filter):
    """For the loggers of flow runs and task runs: drops repeated lines, and logs a state that somebody asked for as INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _AGAIN.match(text):
            return False
        if record.levelno > logging.INFO and _AS_ASKED.match(text):
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


PREFECT_LOG_FILTER = PrefectLogFilter()
"""One for all: a logger takes the same filter only once."""
