"""A pilot: a few paid draws of a dataset before its build. They are kept and counted like any others, and the forecast goes by them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from convoforge.control import Control
from convoforge.dataset import read_standing, settle_plan
from convoforge.generator import make_job
from convoforge.ledger.draws import claim, enrol
from convoforge.ledger.runs import close_run
from convoforge.models import Outcome
from convoforge.plan import Cell, Plan
from convoforge.pricing import usd
from convoforge.settings import Settings
from convoforge.standing import Standing
from convoforge.workbench import OpenGate, Workbench, open_workbench


@dataclass(frozen=True, slots=True)
class Pilot:
    """What came of a pilot: draws that were sent, conversations made of them, their cost in US dollars, and what stopped it, if anything
    did."""

    sent: int
    generated: int
    cost_usd: Decimal
    stopped: str | None


def choose_draws(plan: Plan, standing: Standing, count: int) -> list[tuple[Cell, int]]:
    """`count` of the draws that a build would generate, or all of them if there are fewer: each template's share, spread evenly over its
    cells."""
    cells = {cell.key: cell for cell in plan.cells}
    pending = [(cells[draw.cell], draw.draw) for draw in standing.pending if draw.state == "pending"]
    wanted = [*pending, *((cells[cell], draw) for cell, draw in standing.ask)]
    wanted.sort(key=lambda one: one[0].template)  # stable: within a template as the plan has them
    step = max(1.0, len(wanted) / count)
    return [wanted[int(step * (at + 0.5))] for at in range(min(count, len(wanted)))]


async def run_pilot(plan: Plan, settings: Settings, count: int, open_gate: OpenGate | None = None) -> Pilot:
    """Generate `count` draws of the plan. Raises what `open_workbench` raises, and `LedgerError`; calls in flight are waited for."""
    control = Control()
    spec = plan.spec
    async with open_workbench(
        spec,
        provider=plan.provider,
        price=plan.price,
        settings=settings,
        control=control,
        concurrency=spec.limits.concurrency,
        open_gate=open_gate,
    ) as bench:
        plan = settle_plan(bench.ledger, bench.dataset, bench.run_id, plan, datetime.now(UTC))
        sent: Sequence[Outcome] = ()
        try:
            sent = await _generate(bench, plan, count)
        finally:
            control.stop("the pilot is over")
            await bench.generator.drain(spec.retry.timeout_seconds + 5)
            generated = control.tally["generated"]
            pilot = Pilot(
                len(sent), generated, usd(control.cost_pico), None if generated == len(sent) else _reason(control, sent)
            )
            state = "failed" if control.doomed else "completed" if pilot.stopped is None else "partial"
            report = {"generated": generated, "cost_usd": f"{pilot.cost_usd:f}"}
            message = f"pilot: {generated} of {count} draws generated"
            await bench.ledger.awrite(close_run, bench.run_id, state, message, report, datetime.now(UTC))
    return pilot


async def _generate(bench: Workbench, plan: Plan, count: int) -> Sequence[Outcome]:
    """The outcomes of the draws, all begun at once: the run's places in flight and its rate bound them."""
    standing = await asyncio.to_thread(read_standing, bench.ledger, plan, bench.dataset)
    chosen = choose_draws(plan, standing, count)
    await bench.ledger.awrite(enrol, bench.dataset, chosen)
    standing = await asyncio.to_thread(read_standing, bench.ledger, plan, bench.dataset)
    wished = {(cell.key, draw) for cell, draw in chosen}
    ids = [draw.request_id for draw in standing.pending if (draw.cell, draw.draw) in wished]
    claimed = await bench.ledger.awrite(claim, bench.owner, ids, datetime.now(UTC))
    cells = {cell.key: cell for cell, _ in chosen}
    return await asyncio.gather(*(bench.generator.generate(make_job(plan, cells[one.cell], one)) for one in claimed))


def _reason(control: Control, outcomes: Sequence[Outcome]) -> str:
    """Why fewer were generated than were sent: the first error, or what stopped the run."""
    return next((outcome.reason for outcome in outcomes if outcome.error is not None), None) or control.stopped or "stopped"
