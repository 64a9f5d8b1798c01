"""What a run shows in Prefect while it goes on: how far it is, and which budgets are nearly spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.logging import get_run_logger

from convoforge.background import background_task
from convoforge.ledger.budgets import describe_budget, list_budget_scopes, name_account, read_budgets
from convoforge.ledger.runs import note_run
from convoforge.orchestration.build_run import BuildRun, Progress
from convoforge.pricing import dollars, usd
from convoforge.tasks.run_log import ProgressLog

PROGRESS_SECONDS = 5.0

BUDGET_EVENT = "convoforge.budget.reached"
"""An automation can listen for it: see deployments/README.md."""


@asynccontextmanager
async def show_progress(opened: BuildRun) -> AsyncIterator[None]:
    """Keep a progress bar in Prefect's UI while a run goes on, and report budgets that have been used up to one of their `alert_at`.
    The bar goes when the run has ended: its report is the artifact that stays."""
    watch = _Watch(opened, {name for name, _ in await _reached(opened)})
    async with background_task(watch.go_on()):
        yield
    await watch.look()
    await watch.take_away()


class _Watch:
    def __init__(self, opened: BuildRun, reported: set[str]) -> None:
        self._opened = opened
        self._artifact: UUID | None = None
        self._reported = reported
        self._log = ProgressLog()

    async def go_on(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(PROGRESS_SECONDS)

    async def look(self) -> None:
        """Draw the bar, note how far it is, send the alerts. None is a reason to stop paid work."""
        try:
            await self._opened.count_others()
            now = self._opened.progress()
            share = 100.0 * min(1.0, now.done / now.todo) if now.todo else 0.0
            for name, alert in await _reached(self._opened):
                if name not in self._reported:
                    self._reported.add(name)
                    get_run_logger().warning(alert["message"])
                    emit_event(BUDGET_EVENT, resource=_resource(self._opened), payload=alert)
            await self._opened.ledger.awrite(note_run, self._opened.run_id, now.note.model_dump_json())
            self._log.write(now, describe(now))
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(share, description=describe(now))
            else:
                await aupdate_progress_artifact(self._artifact, share, description=describe(now))
        except Exception as error:  # noqa: BLE001 - as said above
            get_run_logger().debug("no progress: %s", error)

    async def take_away(self) -> None:
        """Delete the bar."""
        if self._artifact is not None:
            with suppress(Exception):
                async with get_client() as client:
                    await client.delete_artifact(self._artifact)


async def _reached(opened: BuildRun) -> list[tuple[str, dict[str, str]]]:
    """Which budgets are used up to which of their `alert_at`: a name for each, and the payload of its event."""
    budget = opened.plan.spec.budget
    account = name_account(budget.account, opened.plan.provider)
    names = list_budget_scopes(opened.run_id, opened.dataset_id, datetime.now(UTC), account)
    budgets = await opened.ledger.awrite(read_budgets, names)
    found = []
    for name, cap in zip(names, (budget.run_usd, budget.dataset_usd, budget.day_usd), strict=True):
        if cap is None:
            continue
        kind, spent = name.partition(":")[0], usd(budgets[name]["spent_pico"] + budgets[name]["maybe_pico"])
        for at in budget.alert_at:
            if spent >= cap * Decimal(str(at)):
                message = f"{at:.0%} of the {describe_budget(name)} is spent: {dollars(spent)} of {dollars(cap)}"
                payload = {
                    "budget": kind,
                    "share": f"{at:g}",
                    "spent_usd": f"{spent:f}",
                    "cap_usd": f"{cap:f}",
                    "message": message,
                }
                found.append((f"{name} {at}", payload))
    return found


def _resource(opened: BuildRun) -> dict[str, str]:
    name = opened.plan.spec.name
    return {
        "prefect.resource.id": f"convoforge.dataset.{name}",
        "prefect.resource.name": name,
        "convoforge.provider": opened.plan.provider,
    }


def describe(now: Progress) -> str:
    """A run's progress as one line."""
    budget = f" of {dollars(now.budget_usd)}" if now.budget_usd is not None else ""
    return (
        f"{now.dataset}: {now.done} of {now.todo} done, {now.accepted} accepted, {now.needs_revision} need revision, "
        f"{f'{now.unjudged} wait for the judge, ' if now.unjudged else ''}"
        f"{now.failed} failed, {dollars(now.cost_usd)}{budget}, {now.rate}"
    )
