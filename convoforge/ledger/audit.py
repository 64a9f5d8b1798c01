"""The audit log of the HTTP API: who did what and when; never what was in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from convoforge.ledger.tables import audit

KEPT_ENTRIES = 1_000_000
"""Number of entries kept, some 100 MB; older ones are deleted as new ones come."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A request that changed something, or that was refused: without a token by `nobody`. `route` is the path with its parameters' names,
    `object` the id of what it was about; each is empty if it has none."""

    at: datetime
    who: str
    method: str
    route: str
    object: str
    status: int


def record_entries(connection: Connection, entries: Sequence[AuditEntry]) -> list[None]:
    """Append entries, and delete the oldest beyond `KEPT_ENTRIES`."""
    connection.execute(insert(audit), [asdict(entry) for entry in entries])
    newest = select(func.max(audit.c.id)).scalar_subquery()
    connection.execute(delete(audit).where(audit.c.id <= newest - KEPT_ENTRIES))
    return [None] * len(entries)


def read_entries(connection: Connection, *, limit: int, before: int | None = None) -> list[Row[Any]]:
    """The newest entries, newest first, with their `id`; those older than the entry `before`."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return list(connection.execute(query))
