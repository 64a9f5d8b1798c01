"""Scoring: what the spec's scorers and filters say of what the ledger holds. It pays nothing, so it may run as often as anybody likes."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from convoforge.dataset.status import score_dataset
from convoforge.errors import format_count
from convoforge.orchestration.build_run import current_run
from convoforge.tasks.retries import DELAYS, RETRIES, is_worth_a_retry


@task(
    name="score",
    task_run_name="score",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=DELAYS,
    retry_condition_fn=is_worth_a_retry,
)
async def score_answers() -> State[int]:
    """Score what has no results of the spec's scorers, in their versions of today: answers of message batches, what a judge reads, what
    another spec or release has scored. Others were scored as they came. Then compare what is new with the rest. Ends with how many it
    scored.

    What it writes down decides what is accepted, and so what is asked for next. Raises `ConfigError` where a scorer fails.
    """
    opened = current_run()
    scored = await asyncio.to_thread(score_dataset, opened.ledger, opened.plan, opened.dataset_id)
    by = ", ".join(opened.plan.spec.quality.scorers)
    what = format_count(scored, "conversation") if scored else "all conversations were"
    return Completed(message=f"{what} scored by {by}{'' if scored else ' as they came'}", data=scored)
