"""Routes for operators (costs, metrics, health), and the lists of templates and batches."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from sqlalchemy import select

from convoforge.api.bodies import BatchKept, Data, Failure, Health, Summary, TemplateBody
from convoforge.api.build_bodies import show_amount
from convoforge.api.conversations import EVERYWHERE, NO_KEY, Either, Kept, Read, describe
from convoforge.api.errors import explain, retry_after
from convoforge.costs.period import GroupBy
from convoforge.errors import LedgerError, LedgerFullError, LimiterClosed, RateLimitError
from convoforge.generation.requests import RequestGenerator
from convoforge.ledger.adhoc_requests import BatchSummary
from convoforge.periods import read_period
from convoforge.planning.templates import Library

LEDGER_SECONDS = 5.0
"""Maximum seconds for the ledger to answer."""


def _period(
    since: Annotated[str | None, Query(alias="from", max_length=64)] = None,
    until: Annotated[str | None, Query(alias="to", max_length=64)] = None,
) -> tuple[datetime | None, datetime | None]:
    return read_period(since, until, ("from", "to"))


Period = Annotated[tuple[datetime | None, datetime | None], Depends(_period)]
router = APIRouter(responses={**EVERYWHERE, "default": {"model": Failure, "description": "Any other error"}})


@router.get("/api/templates", dependencies=[Either])
async def templates(request: Request) -> Data[list[TemplateBody]]:
    """The templates that requests can name, with their parameters."""
    generator: RequestGenerator | None = request.app.state.generator
    library = generator.library if generator else Library.at(request.app.state.viewer.settings.config_dir)
    return Data(data=[TemplateBody.model_validate(library.template(name)) for name in library.names()])


@router.get("/api/batches", dependencies=[Either])
async def batches(kept: Kept) -> Data[list[BatchKept]]:
    """The newest batches, with their summaries."""
    return Data(data=[_kept(one) for one in await kept.batches()])


@router.get("/api/batches/{batch_id:conversation}", dependencies=[Either])
async def batch(batch_id: str, kept: Kept) -> Data[BatchKept]:
    """The summary of one batch, and the ids of its requests."""
    found = await kept.batches(batch_id)
    if not found:
        raise HTTPException(404, "there is no batch with this id")
    return Data(data=_kept(found[0]))


@router.get("/api/costs", responses=describe(400), dependencies=[Read])
async def costs(kept: Kept, period: Period, by: GroupBy | None = None) -> dict[str, Any]:
    """Costs and results from `from` to `to` (UTC dates, both included), as in `convoforge costs --json`. `by` groups them."""
    return (await kept.costs(*period, by)).as_json()


@router.get("/api/metrics", responses=describe(400), dependencies=[Read])
async def metrics(request: Request, kept: Kept, period: Period) -> dict[str, Any]:
    """Key figures of the service: rates from 0 to 1, durations in milliseconds, costs in US dollars."""
    found = await kept.costs(*period, None)
    generator: RequestGenerator | None = request.app.state.generator
    latency = found.latency_ms
    return {
        "attempts": found.attempts,
        "successRate": found.success_rate,
        "retries": found.retries,
        "conversations": found.conversations,
        "latencyMs": {"mean": latency.mean, "p50": latency.p50, "p95": latency.p95, "p99": latency.p99},
        "totalCostUsd": float(found.total_cost_usd),
        "costPerConversationUsd": show_amount(found.cost_per_conversation_usd),
        "queueLength": generator.status().queue_length if generator else 0,
        "inFlight": generator.in_flight if generator else 0,
    }


def _kept(one: BatchSummary) -> BatchKept:
    counts = {"total": one.total, "successful": one.successful, "failed": one.failed, "skipped": one.skipped}
    return BatchKept(
        batch_id=one.id,
        started_at=one.started_at,
        finished_at=one.finished_at,
        summary=Summary(**counts, total_cost=float(one.cost_usd)),
        request_ids=list(one.names),
    )


@router.get("/healthz", responses=describe(503), response_model_exclude_none=True)
async def health(request: Request) -> Health:
    """Whether requests are served. If not: 503 with the reason, and in `Retry-After` when to ask again."""
    generator: RequestGenerator | None = request.app.state.generator
    trusted = request.state.trusted
    if generator is None:
        return Health(status="viewing", reason=NO_KEY if trusted else None)
    try:
        reason = await generator.check()
    except (LimiterClosed, RateLimitError, LedgerFullError) as error:
        seconds = retry_after(error).get("retry-after")
        raise LimiterClosed(str(error) if trusted else "not now", retry_after=float(seconds) if seconds else None) from None
    if not reason:
        return Health(model=generator.model)
    message = explain(LimiterClosed(reason), request.app.state.hidden)[1].message
    return Health(status="trying", model=generator.model, reason=message if trusted else None)


@router.get("/readyz", responses=describe(503), response_model_exclude_none=True)
async def ready(request: Request) -> Health:
    """As `/healthz`, but also checks that the ledger can be read."""
    try:
        async with asyncio.timeout(LEDGER_SECONDS):
            await request.app.state.ledger.aread(lambda connection: connection.execute(select(1)).all())
    except (TimeoutError, LedgerError):
        raise LimiterClosed("the ledger does not answer", retry_after=LEDGER_SECONDS) from None
    return await health(request)
