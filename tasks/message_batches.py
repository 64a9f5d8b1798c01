"""Generating in message batches: a task hands requests over, another waits for what has been handed over, by whichever run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from convoforge.errors import format_count
from convoforge.generation.batch_reading import Collected
from convoforge.generation.message_batches import MAX_REQUESTS
from convoforge.ledger.message_batches import count_in_batches
from convoforge.ledger.requests import claim
from convoforge.orchestration.build_run import BuildRun, current_run
from convoforge.tasks.retries import DELAYS, RETRIES, is_worth_a_retry

FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.5, 60.0
"""Seconds between two looks at batches that go on: longer each time."""

_NAP = 0.25


@task(name="submit-message-batch", task_run_name="{label}", cache_policy=NO_CACHE)
async def submit_message_batch(ids: list[int], label: str) -> State[list[int]]:  # noqa: ARG001 - the label names the task run
    """Hand requests over in message batches, but for those that others are at work on, and those that a budget has no room for yet.
    Ends with the ids that were tried."""
    opened = current_run()
    tried: set[int] = set()
    for start in range(0, len(ids), MAX_REQUESTS):
        claimed = await opened.ledger.awrite(claim, opened.context.owner, ids[start : start + MAX_REQUESTS], datetime.now(UTC))
        jobs = await asyncio.to_thread(lambda some: [opened.job(one) for one in some], claimed)
        handed, failed = await opened.batcher.submit(jobs)
        opened.state.unanswered |= failed
        tried |= handed | failed
        if len(handed) + len(failed) < len(jobs):
            break  # there is no room for more until something comes back
    await _count(opened)
    message = f"{len(tried):,} of {format_count(len(ids), 'request')} handed over; {opened.state.in_batches:,} in batches now"
    return Completed(message=message, data=sorted(tried))


@task(
    name="collect-results",
    task_run_name="collect results",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=DELAYS,
    retry_condition_fn=is_worth_a_retry,
)
async def collect_results(*, wait: bool) -> State[list[int]]:
    """Write down the results of the dataset's batches. With `wait` until none goes on, or the run stops; else of those that have ended.
    Ends with the ids of requests that came back without an answer."""
    opened = current_run()
    failed: set[int] = set()
    before = opened.state.tally["generated"] + opened.state.collected
    pause, reported = FIRST_LOOK_SECONDS, set[str]()
    while True:
        found = await opened.batcher.collect()
        failed |= found.failed
        _add_results(opened, found)
        await _count(opened)
        for trouble in found.troubles:
            if trouble not in reported:
                get_run_logger().warning("%s", trouble)
        reported = set(found.troubles)
        opened.state.batch_troubles = tuple(found.troubles)
        if not found.going_on or not wait or opened.state.stopped is not None:
            brought = opened.state.tally["generated"] + opened.state.collected - before
            answers, waiting = format_count(brought, "answer"), format_count(opened.state.in_batches, "request")
            message = f"{answers}, {len(failed):,} without one; {waiting} in batches still"
            return Completed(message=message, data=sorted(failed))
        opened.state.stage = f"waiting for batches: {opened.state.in_batches} requests are in them, and go on without us"
        if found.troubles:
            opened.state.stage = f"waiting for batches with {opened.state.in_batches} requests: {found.troubles[0]}"
        await _nap(opened, pause)
        pause = min(LAST_LOOK_SECONDS, pause * 1.5)


def _add_results(opened: BuildRun, found: Collected) -> None:
    run_state = opened.state
    run_state.tally.update(found.tally)
    run_state.cost_pico += found.cost_pico
    run_state.unanswered |= found.failed
    opened.state.collected += found.earlier
    opened.state.batch_notes += found.notes
    for note in found.notes:
        get_run_logger().warning("%s", note)


async def _count(opened: BuildRun) -> None:
    opened.state.in_batches = await opened.ledger.aread(count_in_batches, opened.dataset_id)


async def _nap(opened: BuildRun, seconds: float) -> None:
    """Sleep, but hear of a stop."""
    while seconds > 0 and opened.state.stopped is None:
        await asyncio.sleep(min(seconds, _NAP))
        seconds -= _NAP
