"""The audit log: every request that may change something, and every one that its token does not allow."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoforge.api.access import SAFE_METHODS, requires
from convoforge.api.bodies import AuditBody, Data
from convoforge.api.conversations import EVERYWHERE, describe
from convoforge.errors import LedgerError
from convoforge.ledger import Ledger
from convoforge.ledger.audit import AuditEntry, read_entries, record_entries

_LOG = logging.getLogger(__name__)

router = APIRouter(responses={**EVERYWHERE, **describe(400, 500)})


class Audit:
    """Records requests once they are answered, so nobody waits for it: in the ledger's next group commit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, location = 500, ""

        async def noted(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status, location = message["status"], Headers(raw=message["headers"]).get("location", "")
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if scope["type"] == "http" and _matters(scope, status):
                await _record(scope, status, location if status in (201, 202, 303) else "")


def _matters(scope: Scope, status: int) -> bool:
    if scope["state"].get("refused"):
        return True
    return scope["method"] not in SAFE_METHODS and "route" in scope and status != 405 and bool(scope["state"]["who"])


async def _record(scope: Scope, status: int, location: str) -> None:
    route = getattr(scope.get("route"), "path_format", str(scope["path"]))[:200]
    about = "/".join(map(str, scope.get("path_params", {}).values())) or location.rpartition("/")[2]
    entry = AuditEntry(datetime.now(UTC), scope["state"]["who"], scope["method"][:16], route, about[:200], status)
    ledger: Ledger = scope["app"].state.ledger
    try:
        if ledger.full:
            raise LedgerError(ledger.full)
        await ledger.batched(record_entries, entry)
    except LedgerError as error:
        _LOG.warning("%s %s by %s (%d) is not in the audit log: %s", entry.method, route, entry.who, status, error)


@router.get("/api/audit", dependencies=[requires("admin")])
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> Data[list[AuditBody]]:
    """Who did what and when, newest first: each request that may change something, and each that was refused with 403.

    `before` is the id of the last entry of the page before.
    """
    entries = await request.app.state.ledger.aread(read_entries, limit=limit, before=before)
    return Data(data=[AuditBody.model_validate(entry) for entry in entries])
