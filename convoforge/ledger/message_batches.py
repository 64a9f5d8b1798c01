"""Message batches in the ledger: an intent before a batch is created, the API's id after it, each result once.

A batch outlives the process that created it. While it is open, the batch itself owns its requests and attempts, so that they are
not released when a process ends: the API works on them, and they will be paid for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Select, and_, bindparam, func, insert, select, update

from convoforge.ledger.attempts import Completion, Intent, finish_attempts, read_intent, start_attempts
from convoforge.ledger.budgets import Denied, find_accounts, list_budget_scopes
from convoforge.ledger.tables import batches, datasets, generation_logs, requests, runs
from convoforge.models import Asked, Provider
from convoforge.scoring import ScoringContext

OPEN = ("intent", "made")
"""The states of an open batch, which may still bring results: about to be created, and created."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of the last check of a batch. `api_status` and `api_ended_at` come from the API; `missing_since` is the first of
    the consecutive checks at which the API did not have the batch or its results; `trouble` is the reason why expected results
    are not here; `given_up_at` is the earliest time at which its requests are sent again, if nothing changes until then."""

    looked_at: datetime | None = None
    api_status: str | None = None
    api_ended_at: datetime | None = None
    missing_since: datetime | None = None
    trouble: str | None = None
    given_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that may still bring results. `api_id` is None until the API's id is known; `api_key` is its key's fingerprint,
    `endpoint` the URL where it was created. `seen` is the result of the last check."""

    id: str
    run_id: str
    dataset_id: int
    dataset: str
    provider: Provider
    api_id: str | None
    api_key: str | None
    requests: int
    created_at: datetime
    endpoint: str | None = None
    seen: Seen = Seen()


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a batch that has no result yet. `context` has the values of its cell."""

    custom_id: str
    cell: str
    draw: int
    asked: Asked
    intent: Intent
    context: ScoringContext


def make_custom_id(cell: str, draw: int, attempt: int) -> str:
    """A request's custom id in a batch: letters, digits and hyphens, at most 64."""
    return f"{cell}-{draw}-{attempt}"


def begin_batch(
    connection: Connection, batch_id: str, parts: Sequence[tuple[Intent, Asked]], now: datetime, endpoint: str | None = None
) -> Sequence[Denied | None]:
    """Record that a batch is about to be created at `endpoint`, with those `parts` whose worst case fits into their budgets;
    `Denied` for the others. All parts belong to one run and one key; the caller has claimed them, and the batch takes over the
    claims."""
    results = start_attempts(connection, [intent for intent, _ in parts])
    taken = [part for part, denied in zip(parts, results, strict=True) if denied is None]
    if not taken:
        return results
    first = taken[0][0]
    row = {
        "id": batch_id,
        "run_id": first.run_id,
        "api_key": first.api_key,
        "state": "intent",
        "requests": len(taken),
        "created_at": now,
        "endpoint": endpoint and endpoint[:300],
    }
    connection.execute(insert(batches), row)
    hold = update(requests).where(requests.c.id == bindparam("b_request")).values(owner=batch_id, request=bindparam("b_asked"))
    connection.execute(
        hold, [{"b_request": intent.request_id, "b_asked": orjson.dumps(asked).decode()} for intent, asked in taken]
    )
    return results


def name_batch(connection: Connection, batch_id: str, api_id: str) -> None:
    """Record the API's id of a batch after its creation."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(api_batch_id=api_id, state="made"))


def write_seen(connection: Connection, batch_id: str, seen: Seen) -> None:
    """Record the result of a check of a batch."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(asdict(seen)))


def list_open_batches(connection: Connection, dataset: int | None = None) -> list[OpenBatch]:
    """The batches that may still bring results, oldest first, of one dataset or of all."""
    query = _batches().where(batches.c.state.in_(OPEN)).order_by(batches.c.created_at, batches.c.id)
    return _read(connection, query if dataset is None else query.where(runs.c.dataset_id == dataset))


def list_troubled_batches(connection: Connection, limit: int) -> list[OpenBatch]:
    """The ended batches that had a problem, latest first."""
    over = (batches.c.state.not_in(OPEN), batches.c.trouble.is_not(None))
    return _read(connection, _batches().where(*over).order_by(batches.c.ended_at.desc(), batches.c.id).limit(limit))


def _batches() -> Select[Any]:
    return (
        select(batches, runs.c.dataset_id, datasets.c.name, datasets.c.provider)
        .join(runs, runs.c.id == batches.c.run_id)
        .join(datasets, datasets.c.id == runs.c.dataset_id)
    )


def _read(connection: Connection, query: Select[Any]) -> list[OpenBatch]:
    return [
        OpenBatch(
            id=row.id,
            run_id=row.run_id,
            dataset_id=row.dataset_id,
            dataset=row.name,
            provider=row.provider,
            api_id=row.api_batch_id,
            api_key=row.api_key,
            requests=row.requests,
            created_at=row.created_at,
            endpoint=row.endpoint,
            seen=Seen(*(getattr(row, one.name) for one in fields(Seen))),
        )
        for row in connection.execute(query)
    ]


def list_known_batches(connection: Connection) -> set[str]:
    """The API's ids of all recorded batches."""
    return set(connection.execute(select(batches.c.api_batch_id).where(batches.c.api_batch_id.is_not(None))).scalars())


def read_parts(connection: Connection, batch_id: str) -> dict[str, BatchRequest]:
    """The requests of a batch that have no result yet, by custom id."""
    logs = generation_logs.c
    query = (
        select(
            generation_logs, *(requests.c[name] for name in ("cell", "draw", "request", "persona", "emotion", "topic", "tier"))
        )
        .join(requests, requests.c.id == logs.request_id)
        .where(logs.status == "open", logs.owner == batch_id)
    )
    rows, found = connection.execute(query).all(), {}
    accounts = find_accounts(connection, {row.run_id for row in rows})
    for row in rows:
        name = make_custom_id(row.cell, row.draw, row.attempt)
        intent = read_intent(row, _limits(row, accounts.get(row.run_id)))
        context = ScoringContext.of("", row, {})
        found[name] = BatchRequest(name, row.cell, row.draw, Asked(**orjson.loads(row.request)), intent, context)
    return found


def finish_parts(connection: Connection, completions: Sequence[Completion]) -> set[tuple[int, int]]:
    """Record the results of a batch's requests that are not recorded yet: results may be read twice, also by two processes at
    once. Returns the new ones, as (request, attempt)."""
    logs = generation_logs.c
    by_key = {(one.intent.request_id, one.intent.attempt): one for one in completions}
    open_ = connection.execute(
        select(logs.request_id, logs.attempt)
        .where(logs.status == "open", logs.request_id.in_([request for request, _ in by_key]))
        .with_for_update()
    ).all()
    new = {(row.request_id, row.attempt) for row in open_} & by_key.keys()
    if new:
        finish_attempts(connection, [by_key[key] for key in sorted(new)])
    return new


def end_batch(connection: Connection, batch_id: str, state: str, now: datetime, trouble: str | None = None) -> None:
    """Close a batch. `state` is ended, or failed if it was never created; `trouble` is its problem, if any."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(state=state, ended_at=now, trouble=trouble))


def count_in_batches(connection: Connection, dataset: int) -> int:
    """Number of requests of a dataset in open batches, without a result."""
    logs = generation_logs.c
    query = (
        select(func.count())
        .select_from(batches)
        .join(runs, and_(runs.c.id == batches.c.run_id, runs.c.dataset_id == dataset))
        .join(generation_logs, and_(logs.owner == batches.c.id, logs.status == "open"))
        .where(batches.c.state.in_(OPEN))
    )
    return int(connection.execute(query).scalar_one())


def _limits(row: Any, account: str | None) -> Mapping[str, int | None]:
    """The budgets in which a part was reserved; their caps no longer matter."""
    return dict.fromkeys(list_budget_scopes(row.run_id, row.dataset_id, row.started_at, account))
