"""What Prefect itself writes into the log of a run, made fit to be read."""

from __future__ import annotations

import logging
import re

_AGAIN = re.compile(r"Task run failed with state: ")
"""Said again, with the reason, by the line that says how the task run ended."""

_AS_ASKED = re.compile(r"Finished in state (Cancell(ed|ing)|Paused|Suspended)\b")
"""What somebody has asked for is no error."""


class PrefectsWords(logging.Filter):
    """For the loggers of flow runs and task runs: leaves out what is said twice, and calls nothing an error that somebody asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _AGAIN.match(text):
            return False
        if record.levelno > logging.INFO and _AS_ASKED.match(text):
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


IN_PREFECTS_WORDS = PrefectsWords()
"""One for all: a logger takes the same filter only once."""
