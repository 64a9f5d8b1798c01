"""Prefect flows: each the story of one run."""

import logging

from convoforge.logs import ONE_LINE
from convoforge.orchestration.prefect_log import PREFECT_LOG_FILTER

for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(PREFECT_LOG_FILTER)
    logging.getLogger(_name).addFilter(ONE_LINE)  # what these log may quote an answer or a caller
