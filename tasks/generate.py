"""Generating: one Prefect task run per shard of requests. Prefect retries none of it: attempts are the generator's business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.logging import get_run_logger

from convoforge.errors import ConvoforgeError
from convoforge.ledger.requests import Claimed, claim
from convoforge.models import Outcome, Status
from convoforge.orchestration.build_run import BuildRun, current_run
from convoforge.tasks.messages import end_conversation, end_shard, explain, has_failed, is_unsent, read_data
from convoforge.tasks.run_log import log_round
from convoforge.telemetry import trace_shard

T = TypeVar("T")

SINGLY_UP_TO = 100
"""Maximum number of requests that are a task run each, so that each is seen in the UI. More go in shards."""

MAX_IN_SHARD = 50
"""Maximum number of requests in a shard: few enough that a run is seen to move, and a task run costs some 50 ms of CPU."""

MAX_LOGGED = 100
"""Maximum number of log lines about single requests in a run. The messages of the shards count all of them."""


def shard(ids: Sequence[T], total: int) -> list[Sequence[T]]:
    """Requests as shards: of one as long as a run has asked for no more than 100 in all (`total`, these included), else of up to 50,
    equally large."""
    count = len(ids) if total <= SINGLY_UP_TO else ceil(len(ids) / MAX_IN_SHARD)
    return [ids[len(ids) * n // count : len(ids) * (n + 1) // count] for n in range(count)]


@task(name="generate-conversation", task_run_name="{label}", cache_policy=NO_CACHE)
async def generate_conversation(request_id: int, label: str) -> State[list[int]]:  # noqa: ARG001 - the label names the task run
    """Generate one request. Ends with its id if it was tried here and stays without an answer."""
    opened = current_run()
    outcomes = await _generate(opened, [request_id])
    return end_conversation([*outcomes.values()], _list_unanswered(opened, outcomes))


@task(name="generate-shard", task_run_name="{label}", cache_policy=NO_CACHE)
async def generate_shard(ids: list[int], label: str) -> State[list[int]]:  # noqa: ARG001 - the label names the task run
    """Generate many requests, but for those that others are at work on. Ends with the ids that were tried and stay without an answer."""
    opened = current_run()
    outcomes = await _generate(opened, ids, log=True)
    return end_shard([*outcomes.values()], len(ids), _list_unanswered(opened, outcomes))


async def generate(opened: BuildRun, ids: Sequence[int], names: Mapping[int, str]) -> set[int]:
    """Generate requests in shards, a bounded number of shards at a time; one that is a shard of its own goes by its name. Returns the
    ids that were tried here and stay without an answer."""
    shards = shard(ids, opened.state.todo)
    if not shards:
        return set()
    log_round(opened, len(ids), len(shards))
    # Enough shards at once that what begins, is written down or ends slowly in some leaves no call in flight unused.
    width = asyncio.Semaphore(ceil(1.5 * opened.plan.spec.limits.concurrency / len(shards[0])) + 2)

    async def run(number: int, some: Sequence[int]) -> list[int]:
        async with width:
            if opened.state.stopped is not None:
                return []
            label = f"shard {number} of {len(shards)}: {len(some)} requests"
            work = (
                generate_conversation(some[0], names[some[0]], return_state=True)
                if len(some) == 1
                else generate_shard(list(some), label, return_state=True)
            )
            try:
                ended = await work  # type: ignore[misc]  # it is async
            except Pause:  # Prefect begins no task of a run that somebody has suspended; those at work end
                opened.interrupt("suspended in Prefect")
                return []
            failed: list[int] = await read_data(ended)
            return failed

    return {request_id for failed in await _all(run(n, some) for n, some in enumerate(shards, 1)) for request_id in failed}


async def _generate(opened: BuildRun, ids: list[int], *, log: bool = False) -> dict[int, Outcome]:
    """What became of those of `ids` that nobody else had claimed, without the conversations. Claims a part of `ids` whenever the run has
    few requests under way: so builds that share the work, and a rate, each find some of it, and no request is prepared long before it
    can be sent."""
    with trace_shard(len(ids)):
        return await _generate_shard(opened, ids, log=log)


async def _generate_shard(opened: BuildRun, ids: list[int], *, log: bool) -> dict[int, Outcome]:
    part = ceil(opened.plan.spec.limits.concurrency / 2)
    jobs: dict[int, asyncio.Task[Outcome]] = {}
    try:
        for start in range(0, len(ids), part):
            some = ids[start : start + part]
            await opened.claims.room(len(some))
            had = 0
            try:
                if opened.state.stopped is not None:
                    break
                claimed = await opened.ledger.awrite(claim, opened.context.owner, some, datetime.now(UTC))
                had = len(claimed)
            finally:
                opened.claims.end(len(some) - had)
            for one in claimed:
                job = asyncio.create_task(_one(opened, one, log=log))
                job.add_done_callback(lambda _: opened.claims.end())
                jobs[one.request_id] = job
    finally:
        outcomes = await _all(jobs.values())
    return dict(zip(jobs, outcomes, strict=True))


async def _one(opened: BuildRun, claimed: Claimed, *, log: bool) -> Outcome:
    try:
        outcome = await opened.generator.generate(opened.job(claimed))
    except ConvoforgeError as error:
        opened.state.stop(str(error), fatal=True)  # the ledger is gone: nothing more may be paid
        raise
    if is_unsent(outcome):
        opened.state.unanswered.discard(claimed.request_id)  # it was not sent, and so has not failed
    elif log and outcome.status is not Status.ACCEPTED and opened.state.logged < MAX_LOGGED:
        opened.state.logged += 1
        _log(opened, claimed, outcome)
    return replace(outcome, conversation=None)


def _log(opened: BuildRun, claimed: Claimed, outcome: Outcome) -> None:
    name, status = opened.cells[claimed.cell].name_draw(claimed.draw), outcome.status.replace("_", " ")
    write = get_run_logger().warning if has_failed(outcome) else get_run_logger().info
    write("%s: %s, %s", name, status, explain(outcome))
    if opened.state.logged == MAX_LOGGED:
        get_run_logger().info("%d such lines are enough: the messages of the shards count the others", MAX_LOGGED)


def _list_unanswered(opened: BuildRun, ids: Iterable[int]) -> list[int]:
    return [one for one in ids if one in opened.state.unanswered]


async def _all(work: Iterable[Awaitable[Any]]) -> list[Any]:
    """All results. One failure cancels nothing: the others are paid. The first failure is raised once all have ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
