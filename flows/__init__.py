"""Prefect flows: each the story of one run."""

import logging

from convoforge.logs import ONE_LINE

for _name in ("prefect.flow_runs", "prefect.task_runs"):  # what these log may quote an answer or a caller
    logging.getLogger(_name).addFilter(ONE_LINE)
