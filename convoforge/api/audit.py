"""The audit log: every request that may change something, and every one that is refused for want of a token or of its scope."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoforge.api.access import SAFE_METHODS, requires
from convoforge.api.bodies import AuditBody, Data
from convoforge.api.conversations import EVERYWHERE, describe
from convoforge.api.login import LOGIN
from convoforge.errors import LedgerError
from convoforge.ledger import Ledger
from convoforge.ledger.audit import AuditEntry, read_entries, record_entries

REFUSED = (401, 403)
"""What is answered without a token, or without the scope for it."""

STRANGERS_A_MINUTE = 60
"""Maximum number of requests without a token that are recorded in a minute: a flood of them would push out what others did. All of them are
counted in `/metrics`."""

_LOG = logging.getLogger(__name__)

router = APIRouter(responses={**EVERYWHERE, **describe(400, 500)})


class Audit:
    """Records requests once they are answered, so nobody waits for it: in the ledger's next group commit."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._minute, self._strangers = 0, 0

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
            if scope["type"] == "http" and _matters(scope, status) and (scope["state"]["who"] or self._has_room()):
                await _record(scope, status, location if status in (201, 202, 303) else "")

    def _has_room(self) -> bool:
        """Whether another stranger is recorded in this minute."""
        minute = int(self._clock() // 60)
        self._minute, self._strangers = minute, 1 + (self._strangers if minute == self._minute else 0)
        return self._strangers <= STRANGERS_A_MINUTE


def _matters(scope: Scope, status: int) -> bool:
    if status in REFUSED:
        return True
    return scope["method"] not in SAFE_METHODS and "route" in scope and status != 405 and bool(scope["state"]["who"])


async def _record(scope: Scope, status: int, location: str) -> None:
    who, route, params = scope["state"]["who"], *_find_route(scope)
    made = "" if route == LOGIN else urlsplit(location).path.rpartition("/")[2]  # after a login it is where the browser goes next
    about = ("/".join(map(str, params.values())) or made) if who else ""  # what nobody knows is not written down
    entry = AuditEntry(datetime.now(UTC), who or "nobody", scope["method"][:16], route[:200], about[:200], status)
    ledger: Ledger = scope["app"].state.ledger
    try:
        if ledger.full:
            raise LedgerError(ledger.full)
        await ledger.batched(record_entries, entry)
    except LedgerError as error:
        _LOG.warning("%s %s by %s (%d) is not in the audit log: %s", entry.method, route, entry.who, status, error)


def _find_route(scope: Scope) -> tuple[str, Mapping[str, Any]]:
    """The path with its parameters' names, and their values; also of a request that was refused before it came to a route. Empty where
    there is none: the path itself is its sender's own words."""
    if "route" in scope:
        return scope["route"].path_format, scope.get("path_params", {})
    routes = (one.original_route for one in iter_route_contexts(scope["app"].routes))
    (match, found), route = max(((one.matches(dict(scope)), one) for one in routes), key=lambda tried: tried[0][0].value)
    return ("", {}) if match is Match.NONE else (getattr(route, "path_format", ""), found.get("path_params", {}))


@router.get("/api/audit", dependencies=[requires("admin")])
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> Data[list[AuditBody]]:
    """Who did what and when, newest first: each request that may change something, and each that was refused (401, 403); of those
    without a token 60 a minute.

    `before` is the id of the last entry of the page before.
    """
    entries = await request.app.state.ledger.aread(read_entries, limit=limit, before=before)
    return Data(data=[AuditBody.model_validate(entry) for entry in entries])
