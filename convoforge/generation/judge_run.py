"""A run that generates nothing: a judge reads what a dataset holds and no judge has read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from convoforge.dataset.status import read_status, score_dataset, settle_plan
from convoforge.errors import format_count
from convoforge.generation.run import OpenLimiter, Run, open_run
from convoforge.generation.run_state import RunState
from convoforge.ledger.runs import close_run
from convoforge.planning.plan import Plan
from convoforge.pricing import usd
from convoforge.scoring.judge import ANSWERS
from convoforge.settings import Settings


@dataclass(frozen=True, slots=True)
class JudgeRun:
    """What came of a run: answers of the judge, cost in US dollars, and the reason if it stopped."""

    judged: int
    cost_usd: Decimal
    stopped: str | None


async def run_judge(
    plan: Plan, settings: Settings, *, limit: int | None = None, also: Sequence[int] = (), open_limiter: OpenLimiter | None = None
) -> JudgeRun:
    """Let the spec's judge read what waits for it, at most `limit` conversations, and `also` those that some requests hold. Each is sent
    one by one, whatever the spec's mode. Raises what `open_run` raises, and `LedgerError`."""
    state, spec = RunState(), plan.spec
    async with open_run(
        spec, provider=plan.provider, price=plan.price, settings=settings, run_state=state, open_limiter=open_limiter
    ) as run:
        assert run.judging is not None
        plan = settle_plan(run.context.ledger, run.context.dataset_id, run.context.run_id, plan, datetime.now(UTC))
        reason = None
        try:
            await _judge(run, plan, limit, also)
            reason = state.stopped
        finally:
            state.stop("the judge is done")
            await run.generator.drain(spec.retry.timeout_seconds + 5)
            done = JudgeRun(state.tally["judged"], usd(state.cost_pico), reason)
            end = "failed" if state.fatal else "completed" if reason is None else "partial"
            message = f"judge: {format_count(done.judged, 'conversation')} judged{f'; {reason}' if reason else ''}"
            report = {"generated": 0, "judged": done.judged, "cost_usd": f"{done.cost_usd:f}"}
            await run.context.ledger.awrite(close_run, run.context.run_id, end, message, report, datetime.now(UTC))
    return done


async def _judge(run: Run, plan: Plan, limit: int | None, also: Sequence[int]) -> None:
    """Ask until nothing waits any more: another conversation may take the place of one that the judge rejects."""
    assert run.judging is not None
    ledger, dataset, asked = run.context.ledger, run.context.dataset_id, Counter[int]()
    await asyncio.to_thread(score_dataset, ledger, plan, dataset)
    while run.context.state.stopped is None:
        status = await asyncio.to_thread(read_status, ledger, plan, dataset)
        left = None if limit is None else max(0, limit - len(asked))
        waiting = [one for one in dict.fromkeys((*also, *(draw.request_id for draw in status.to_judge))) if asked[one] < ANSWERS]
        again = [one for one in waiting if asked[one]]
        new = [one for one in waiting if not asked[one]][:left]
        sent = await run.judging.ask(plan, [*again, *new])
        asked.update(sent)
        await asyncio.to_thread(score_dataset, ledger, plan, dataset)
        if not sent:
            return
