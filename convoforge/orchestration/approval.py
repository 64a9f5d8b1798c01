"""A run that would cost more than `approve_above_usd` waits for approval, given in a form of Prefect's UI or by `convoforge approve`.
Nothing is open meanwhile: no process, no lease, no claim."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterId, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import emit_event
from prefect.exceptions import Pause
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled
from pydantic import Field

from convoforge.dataset.forecast import Forecast, forecast, read_known
from convoforge.ledger import Ledger
from convoforge.ledger.runs import close_run, hold_run
from convoforge.orchestration.dead_runs import SUSPENDED_EVENT
from convoforge.orchestration.run_names import present_run
from convoforge.orchestration.steering import APPROVAL_KEY
from convoforge.planning.options import BuildOptions
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import dollars
from convoforge.settings import Settings

APPROVAL_EVENT = "convoforge.approval.wanted"
"""Sent when a run begins to wait. An automation can listen for it: see deployments/README.md."""


class Approval(RunInput):
    """The answer to the question whether a run may spend its estimate."""

    decision: Literal["approve", "decline"] = Field(
        title="Decision",
        description="Approve: the run goes on and spends, within its budgets. Decline: it ends, and spends nothing.",
    )


async def await_approval(spec: DatasetSpec, options: BuildOptions, settings: Settings) -> State[Any] | None:
    """Let a deployment's run wait where its estimate is above `approve_above_usd`: raises Prefect's `Pause`, and comes here again when
    it is resumed. None where it may go on, else the state to end it with.

    What was approved is an amount: a run whose estimate has grown meanwhile asks again. A run that is none of a deployment has its
    caller beside it, whom the command line has asked.
    """
    limit = spec.budget.approve_above_usd
    if limit is None or not flow_run.id:
        return None
    async with get_client() as client:
        run = await client.read_flow_run(UUID(str(flow_run.id)))
        if run.deployment_id is None:
            return None
        seen = await asyncio.to_thread(lambda: forecast(read_known(spec, options, settings), options))
        if seen.costs.cost.expected <= limit:
            return None
        cents = ceil(seen.costs.cost.expected * 100)
        key = _find_key(run.empirical_policy.pause_keys or (), cents)
        if key is None:
            key = f"{APPROVAL_KEY}{cents}"
            if (other := await _find_waiting(client, run)) is not None:
                return Cancelled(
                    message=f"the run '{other.name}' of this dataset waits for approval already: convoforge approve {other.id.hex[:8]}"
                )
            mark = ("simulated",) if options.simulate else ()
            await present_run(" · ".join((spec.name, f"{seen.missing:,} to make", *mark)), spec.name, *mark)
            _announce(run, seen, limit)
            message = f"{seen.costs.cost} is above approve_above_usd, {dollars(limit)}: convoforge approve {run.id.hex[:8]}"
            now = datetime.now(UTC)
            await asyncio.to_thread(_write, settings, hold_run, run.id.hex, str(run.id), spec, seen.plan.provider, message, now)
    try:
        answer = await asuspend_flow_run(Approval.with_initial_data(_describe(seen, limit)), key=key)
    except Pause:
        emit_event(SUSPENDED_EVENT, resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"})
        raise
    if answer.decision == "approve":
        get_run_logger().info("Approved: %s", seen.costs.cost)
        return None
    message = f"declined: an estimate of {seen.costs.cost} for {seen.missing:,} conversations. Nothing was spent"
    await asyncio.to_thread(_write, settings, close_run, run.id.hex, "partial", message, {}, datetime.now(UTC))
    return Cancelled(message=message)


def _write(settings: Settings, change: Callable[..., None], *arguments: object) -> None:
    """Change the ledger, which `convoforge status` reads."""
    with Ledger(settings.database_url) as ledger:
        ledger.write(change, *arguments)


def _find_key(asked: Iterable[str], cents: int) -> str | None:
    """The key of a question that this run has asked before, about as much as it would cost now or more."""
    amounts = [int(key.removeprefix(APPROVAL_KEY)) for key in asked if key.startswith(APPROVAL_KEY)]
    enough = [amount for amount in amounts if amount >= cents]
    return f"{APPROVAL_KEY}{min(enough)}" if enough else None


async def _find_waiting(client: PrefectClient, run: FlowRun) -> FlowRun | None:
    """Another run of the same spec that waits for approval: one question about it is enough."""
    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    builds = FlowFilter(id=FlowFilterId(any_=[run.flow_id]))
    for other in await client.read_flow_runs(flow_filter=builds, flow_run_filter=paused):
        asked = other.state is not None and str(other.state.state_details.pause_key).startswith(APPROVAL_KEY)
        if asked and _subject(other) == _subject(run):
            return other
    return None


def _subject(run: FlowRun) -> tuple[Any, bool]:
    return run.parameters.get("spec"), bool((run.parameters.get("options") or {}).get("simulate"))


def _describe(seen: Forecast, limit: Decimal) -> str:
    simulated = " It is simulated: nothing would be paid." if seen.plan.provider == "simulator" else ""
    return (
        f"{seen.plan.spec.name}: {seen.missing:,} conversations in {len(seen.plan.cells):,} cells with {seen.plan.spec.model}, "
        f"estimated at {seen.costs.cost}. That is above approve_above_usd, {dollars(limit)}.{simulated}"
    )


def _announce(run: FlowRun, seen: Forecast, limit: Decimal) -> None:
    name, provider = seen.plan.spec.name, seen.plan.provider
    message = f"{_describe(seen, limit)} It waits: Resume in Prefect's UI, or convoforge approve {run.id.hex[:8]}"
    get_run_logger().warning("%s", message)
    emit_event(
        APPROVAL_EVENT,
        resource={
            "prefect.resource.id": f"convoforge.dataset.{name}",
            "prefect.resource.name": name,
            "convoforge.provider": provider,
        },
        payload={
            "flow_run_id": str(run.id),
            "estimated_usd": f"{seen.costs.cost.expected:f}",
            "approve_above_usd": f"{limit:f}",
            "conversations": seen.missing,
            "cells": len(seen.plan.cells),
            "model": seen.plan.spec.model,
            "message": message,
        },
    )
