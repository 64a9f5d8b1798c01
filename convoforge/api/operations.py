"""The routes for whoever runs the service, and for whoever wants to know what it offers."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from convoforge.api.bodies import Health, ParameterBody, TemplateBody, TemplatesDone
from convoforge.api.conversations import EVERYWHERE, Opened, told
from convoforge.api.errors import explain, retry_after
from convoforge.errors import GateClosed, LedgerError, LedgerFullError, RateLimitError

LEDGER_SECONDS = 5.0
"""Seconds that the ledger has to answer."""

router = APIRouter(responses=EVERYWHERE)


@router.get("/api/templates")
async def templates(generator: Opened) -> TemplatesDone:
    """The templates that requests can name, with what they take."""
    found = [generator.library.template(name) for name in generator.library.names()]
    return TemplatesDone(
        data=[
            TemplateBody(
                id=one.id,
                name=one.name,
                version=one.version,
                description=one.description,
                tiers=list(one.tiers),
                parameters={
                    name: ParameterBody(
                        description=parameter.description,
                        values=None if parameter.values is None else list(parameter.values),
                        default=parameter.default,
                    )
                    for name, parameter in one.parameters.items()
                },
            )
            for one in found
        ]
    )


@router.get("/healthz", responses=told(503), response_model_exclude_none=True)
async def health(request: Request, generator: Opened) -> Health:
    """Whether requests are served; 503 with the reason, and in `Retry-After` when to ask again, where they are not."""
    trusted = request.state.trusted
    try:
        reason = await generator.check()
    except (GateClosed, RateLimitError, LedgerFullError) as error:
        seconds = retry_after(error).get("retry-after")
        raise GateClosed(str(error) if trusted else "not now", retry_after=float(seconds) if seconds else None) from None
    if not reason:
        return Health(model=generator.model)
    words = explain(GateClosed(reason), request.app.state.hidden)[1].message
    return Health(status="trying", model=generator.model, reason=words if trusted else None)


@router.get("/readyz", responses=told(503), response_model_exclude_none=True)
async def ready(request: Request, generator: Opened) -> Health:
    """The same, and whether the ledger can be read."""
    try:
        async with asyncio.timeout(LEDGER_SECONDS):
            await generator.ping()
    except (TimeoutError, LedgerError):
        raise GateClosed("the ledger does not answer", retry_after=LEDGER_SECONDS) from None
    return await health(request, generator)
