"""Generating: one Prefect task run per shard of requests. Prefect retries none of it: attempts are the generator's business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from convoforge.errors import BudgetExceeded, ConvoforgeError, LimiterClosed
from convoforge.ledger.requests import Claimed, claim
from convoforge.orchestration.build_run import BuildRun, current_run

T = TypeVar("T")

SINGLY_UP_TO = 100
"""Maximum number of requests that are a task run each, so that each is seen in the UI. More go in shards."""

_MIN, _SHARDS = 200, 400
"""Minimum number of requests in a shard, and maximum number of shards in a run: a task run costs some 50 ms of CPU."""


def shard(ids: Sequence[T], total: int) -> list[Sequence[T]]:
    """Requests as shards: of one as long as a run has asked for no more than 100 in all (`total`, these included), else of at
    least 200, or the 400th part of what it has asked for: so a run's refills add few task runs to its first round's."""
    if not ids:
        return []
    smallest = 1 if total <= SINGLY_UP_TO else max(_MIN, ceil(total / _SHARDS))
    count = max(1, len(ids) // smallest)
    return [ids[len(ids) * n // count : len(ids) * (n + 1) // count] for n in range(count)]


@task(name="generate-conversation", task_run_name="{label}", cache_policy=NO_CACHE)
async def generate_conversation(request_id: int, label: str) -> list[int]:  # noqa: ARG001 - the label names the task run
    """Generate one request. Returns its id if it was tried here and stays without an answer."""
    return await _generate(current_run(), [request_id])


@task(name="generate-shard", task_run_name="{label}", cache_policy=NO_CACHE)
async def generate_shard(ids: list[int], label: str) -> list[int]:  # noqa: ARG001 - the label names the task run
    """Generate many requests, but for those that others are at work on. Returns the ids that were tried and stay without an answer."""
    return await _generate(current_run(), ids)


async def generate(opened: BuildRun, ids: Sequence[int], names: Mapping[int, str]) -> set[int]:
    """Generate requests in shards, a bounded number of shards at a time; one that is a shard of its own goes by its name. Returns the
    ids that were tried here and stay without an answer."""
    shards = shard(ids, opened.state.todo)
    if not shards:
        return set()
    # Enough shards at once that what begins, is written down or ends slowly in some leaves no call in flight unused.
    width = asyncio.Semaphore(ceil(1.5 * opened.plan.spec.limits.concurrency / len(shards[0])) + 2)

    async def run(number: int, some: Sequence[int]) -> list[int]:
        async with width:
            if opened.state.stopped is not None:
                return []
            if len(some) == 1:
                return await generate_conversation(some[0], names[some[0]])
            return await generate_shard(list(some), f"shard {number} of {len(shards)}: {len(some)} requests")

    return {request_id for failed in await _all(run(n, some) for n, some in enumerate(shards, 1)) for request_id in failed}


async def _generate(opened: BuildRun, ids: list[int]) -> list[int]:
    """Claims a part of `ids` whenever the run has few requests under way: so builds that share the work, and a rate, each find some of
    it, and no request is prepared long before it can be sent."""
    part = ceil(opened.plan.spec.limits.concurrency / 2)
    jobs: list[asyncio.Task[None]] = []
    ours: list[int] = []
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
            ours += [one.request_id for one in claimed]
            for one in claimed:
                job = asyncio.create_task(_one(opened, one))
                job.add_done_callback(lambda _: opened.claims.end())
                jobs.append(job)
    finally:
        await _all(jobs)
    return [one for one in ours if one in opened.state.unanswered]


async def _one(opened: BuildRun, claimed: Claimed) -> None:
    try:
        outcome = await opened.generator.generate(opened.job(claimed))
    except ConvoforgeError as error:
        opened.state.stop(str(error), fatal=True)  # the ledger is gone: nothing more may be paid
        raise
    if isinstance(outcome.error, LimiterClosed | BudgetExceeded):
        opened.state.unanswered.discard(claimed.request_id)  # it was not sent, and so has not failed


async def _all(work: Iterable[Awaitable[Any]]) -> list[Any]:
    """All results. One failure cancels nothing: the others are paid. The first failure is raised once all have ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
