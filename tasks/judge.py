"""Judging: a model reads what would be accepted otherwise. It pays, so Prefect retries none of it."""

from __future__ import annotations

from decimal import Decimal

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from convoforge.errors import format_count
from convoforge.orchestration.build_run import current_run
from convoforge.pricing import dollars
from convoforge.tasks.messages import has_failed, is_unsent, shorten


@task(name="judge", task_run_name="judge {label}", cache_policy=NO_CACHE)
async def judge_conversations(ids: list[int], label: str) -> State[list[int]]:  # noqa: ARG001 - the label names the task run
    """Let the spec's judge read the conversations that these requests hold, or hand them over in a message batch. Ends with those that
    were sent: others may have been claimed by another process. What was answered counts from the next scoring on."""
    opened = current_run()
    judging = opened.judging
    assert judging is not None
    if opened.plan.spec.mode == "batch":
        handed = await judging.submit(opened.plan, ids)
        return Completed(message=f"{len(handed):,} of {format_count(len(ids), 'conversation')} handed over", data=handed)
    outcomes = await judging.ask(opened.plan, ids)
    sent = {one: outcome for one, outcome in outcomes.items() if not is_unsent(outcome)}
    cost = dollars(sum((one.cost_usd for one in sent.values()), start=Decimal(0)))
    failed = [shorten(one.reason) for one in sent.values() if has_failed(one)]
    why = f"; {len(failed):,} without an answer: {failed[0]}" if failed else ""
    done = f"{format_count(len(sent) - len(failed), 'conversation')} of {len(ids):,} judged by {judging.judge.model}"
    return Completed(name="Partial" if failed else "Completed", message=f"{done} for {cost}{why}", data=[*sent])
