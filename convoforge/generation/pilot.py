"""A pilot: a few paid draws of a dataset before its build. They are kept like any others, and the forecast is based on them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.registering import register
from convoforge.dataset.status import read_status, score_dataset, settle_plan
from convoforge.errors import format_count
from convoforge.generation.jobs import make_job
from convoforge.generation.run import OpenLimiter, Run, open_run
from convoforge.generation.run_state import RunState
from convoforge.ledger.requests import claim
from convoforge.ledger.runs import close_run
from convoforge.models import Outcome
from convoforge.planning.plan import Cell, Plan
from convoforge.pricing import price_of, usd
from convoforge.settings import Settings


@dataclass(frozen=True, slots=True)
class Pilot:
    """The result of a pilot: draws sent, conversations generated, cost in US dollars, and the reason if it stopped."""

    sent: int
    generated: int
    cost_usd: Decimal
    stopped: str | None


def choose_draws(plan: Plan, status: DatasetStatus, count: int) -> list[tuple[Cell, int]]:
    """Choose up to `count` of the draws that a build would generate, in proportion to the templates, evenly over their cells."""
    cells = {cell.key: cell for cell in plan.cells}
    pending = [(cells[draw.cell], draw.draw) for draw in status.pending if draw.state == "pending"]
    wanted = [*pending, *((cells[cell], draw) for cell, draw in status.to_request)]
    wanted.sort(key=lambda one: one[0].template)  # stable: keeps the plan's order within a template
    step = max(1.0, len(wanted) / count)
    return [wanted[int(step * (at + 0.5))] for at in range(min(count, len(wanted)))]


async def run_pilot(plan: Plan, settings: Settings, count: int, open_limiter: OpenLimiter | None = None) -> Pilot:
    """Generate `count` draws of the plan one by one, and wait for the calls in flight. Raises what `open_run` raises, and `LedgerError`."""
    run_state = RunState()
    spec = plan.spec
    async with open_run(
        spec,
        provider=plan.provider,
        price=price_of(spec.model, overrides=spec.prices),  # at once, whatever the spec's mode
        settings=settings,
        run_state=run_state,
        concurrency=spec.limits.concurrency,
        open_limiter=open_limiter,
    ) as run:
        plan = settle_plan(run.context.ledger, run.context.dataset_id, run.context.run_id, plan, datetime.now(UTC))
        sent: Sequence[Outcome] = ()
        try:
            sent = await _generate(run, plan, count)
        finally:
            run_state.stop("the pilot is over")
            await run.generator.drain(spec.retry.timeout_seconds + 5)
            generated = run_state.tally["generated"]
            pilot = Pilot(
                len(sent), generated, usd(run_state.cost_pico), None if generated == len(sent) else _reason(run_state, sent)
            )
            state = "failed" if run_state.fatal else "completed" if pilot.stopped is None else "partial"
            report = {"generated": generated, "cost_usd": f"{pilot.cost_usd:f}"}
            message = f"pilot: {generated:,} of {format_count(count, 'draw')} generated"
            await run.context.ledger.awrite(close_run, run.context.run_id, state, message, report, datetime.now(UTC))
        await asyncio.to_thread(score_dataset, run.context.ledger, plan, run.context.dataset_id)
    return pilot


async def _generate(run: Run, plan: Plan, count: int) -> Sequence[Outcome]:
    """Generate the draws and return their outcomes. All begin at once: the run's concurrency and rate limit them."""
    status = await asyncio.to_thread(read_status, run.context.ledger, plan, run.context.dataset_id)
    chosen = choose_draws(plan, status, count)
    await asyncio.to_thread(register, run.context.ledger, plan, run.context.dataset_id, chosen)
    status = await asyncio.to_thread(read_status, run.context.ledger, plan, run.context.dataset_id)
    wished = {(cell.key, draw) for cell, draw in chosen}
    ids = [draw.request_id for draw in status.pending if (draw.cell, draw.draw) in wished]
    claimed = await run.context.ledger.awrite(claim, run.context.owner, ids, datetime.now(UTC))
    cells = {cell.key: cell for cell, _ in chosen}
    return await asyncio.gather(*(run.generator.generate(make_job(plan, cells[one.cell], one)) for one in claimed))


def _reason(run_state: RunState, outcomes: Sequence[Outcome]) -> str:
    """The reason why fewer were generated than sent: the first error, or the run's reason to stop."""
    return next((outcome.reason for outcome in outcomes if outcome.error is not None), None) or run_state.stopped or "stopped"
