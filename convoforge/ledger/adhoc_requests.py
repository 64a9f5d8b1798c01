"""Requests outside any dataset, found by their names, by their caller's key, and by their batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, insert, or_, select, update

from convoforge.errors import ConvoforgeError, GenerationValidationError, LimiterClosed, ParseError
from convoforge.ledger.answers import read_answers, read_published
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.connect import upsert
from convoforge.ledger.owners import list_living_owners
from convoforge.ledger.requests import Claimed, claim, register_one, requeue
from convoforge.ledger.tables import IS_HELD, answers, datasets, generation_logs, idempotency_keys, request_batches, requests
from convoforge.models import AnswerKind, Outcome, Quality, Status, Usage
from convoforge.planning.keys import draw_key
from convoforge.planning.plan import Cell
from convoforge.planning.spec import AXES
from convoforge.pricing import usd

KEY_LIFETIME = timedelta(hours=24)
"""Time for which a caller's key and the response to it are kept."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A caller's key. `nonce` names its request; `status` and `response` are set once there is a response to repeat. `taken`:
    another process works on it."""

    nonce: str
    fingerprint: str
    status: int | None = None
    response: str | None = None
    taken: bool = False


def register_named(
    connection: Connection, dataset: int, cell: Cell, request: str, owner: str, now: datetime
) -> tuple[int, Claimed | None]:
    """Register and claim the request whose name is `cell.key`. Returns its id and the claim; no claim if it is answered already.

    Raises `LimiterClosed` if another caller's request with this name is in progress.
    """
    row = connection.execute(_named(dataset, cell.key)).one_or_none()
    if row is None:
        request_id = register_one(connection, dataset, cell, request)
    elif row.state == "held":
        return row.id, None
    else:
        request_id = row.id
        requeue(connection, [request_id])
    claimed = claim(connection, owner, [request_id], now)
    if not claimed:
        raise LimiterClosed("the same request is under way", retry_after=5)
    return request_id, claimed[0]


def find_request(connection: Connection, dataset: int, name: str, provider: str | None = None) -> Any:
    """The request with this name or conversation id, and the `min_score` of its dataset; None if there is none. With `provider`, the
    conversation may be in any dataset of that provider."""
    columns = (*(requests.c[name] for name in ("id", "state", "request", "template", *AXES)), datasets.c.min_score)
    query = select(*columns).join(datasets, datasets.c.id == requests.c.dataset_id)
    mine = requests.c.dataset_id == dataset
    found = connection.execute(query.where(requests.c.draw_key == draw_key(name, 0), mine)).one_or_none()
    if found is not None:
        return found
    by_conversation = query.join(answers, IS_HELD).where(answers.c.conversation_id == name)
    return connection.execute(by_conversation.where(datasets.c.provider == provider if provider else mine)).first()


def read_outcome(connection: Connection, request_id: int, judge: Callable[[Quality, str | None], Status]) -> Outcome | None:
    """The outcome of an answered request, with the status that `judge` gives for its quality and a reviewer's decision; None if it has no
    answer, or its conversation is not scored yet."""
    row = next(read_answers(connection, [request_id]), None)
    if row is None:
        return None
    kind = AnswerKind(row.kind)
    conversation = read_published(row) if row.turns else None
    quality = read_quality(row.score, row.results)
    error: ConvoforgeError | None = None
    status = Status.DROPPED
    if conversation is not None and quality is not None:
        status = judge(quality, row.decision)
    elif conversation is not None:
        return None
    elif kind is AnswerKind.PARSE_ERROR:
        error = ParseError(row.reason or "no conversation could be read", content=row.raw_text or "")
    else:
        error = GenerationValidationError(row.reason or kind.value, details={"kind": kind.value})
    return Outcome(
        status=status,
        kind=kind,
        conversation=conversation,
        quality=quality,
        usage=Usage(
            row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_5m_tokens, row.cache_write_1h_tokens
        ),
        cost_usd=usd(row.cost_pico),
        attempts=row.attempt,
        duration_ms=row.latency_ms or 0,
        reason=row.reason or "",
        conversation_id=row.conversation_id,
        model=row.model,
        api_request_id=row.api_request_id,
        provider="simulator" if row.provider == "simulator" else "anthropic",
        finished_at=row.generated_at,
        temperature_applied=row.temperature_applied,
        error=error,
    )


def drop_unsent(connection: Connection, owner: str, ids: Sequence[int]) -> None:
    """Clean up requests without a waiting caller: delete those never sent, and release the claims on the others."""
    mine = (requests.c.id.in_(ids), or_(requests.c.owner.is_(None), requests.c.owner == owner))
    sent = exists().where(generation_logs.c.request_id == requests.c.id)
    under_way = exists().where(generation_logs.c.request_id == requests.c.id, generation_logs.c.status == "open")
    connection.execute(delete(requests).where(*mine, requests.c.state.in_(("pending", "claimed")), ~sent))
    connection.execute(
        update(requests).where(*mine, requests.c.state == "claimed", ~under_way).values(state="pending", owner=None)
    )


def sweep_unsent(connection: Connection, dataset: int) -> None:
    """Delete requests of earlier processes that were never sent."""
    sent = exists().where(generation_logs.c.request_id == requests.c.id)
    connection.execute(delete(requests).where(requests.c.dataset_id == dataset, requests.c.state == "pending", ~sent))


def take_key(connection: Connection, key: str, fingerprint: str, nonce: str, owner: str, now: datetime) -> KnownKey:
    """Take a caller's key for `owner` if the key is new or its process is gone. Returns its state. Deletes expired keys."""
    keys = idempotency_keys.c
    connection.execute(delete(idempotency_keys).where(keys.created_at < now - KEY_LIFETIME))
    fresh = {"key": key, "fingerprint": fingerprint, "nonce": nonce, "owner": owner, "created_at": now}
    connection.execute(upsert(connection.dialect.name, idempotency_keys).on_conflict_do_nothing(index_elements=["key"]), fresh)
    row = connection.execute(select(idempotency_keys).where(keys.key == key).with_for_update()).one()
    known = KnownKey(row.nonce, row.fingerprint, row.status, row.response)
    if row.status is not None or row.fingerprint != fingerprint or row.owner == owner:
        return known
    if row.owner is not None and list_living_owners(connection, [row.owner], now):
        return KnownKey(row.nonce, row.fingerprint, taken=True)
    connection.execute(update(idempotency_keys).where(keys.key == key).values(owner=owner))
    return known


def end_key(connection: Connection, key: str, status: int | None, response: str | None) -> None:
    """End the work for a caller's key and keep its response; without one, the next request with the key may try again."""
    values = {"status": status, "response": response, "owner": None}
    connection.execute(update(idempotency_keys).where(idempotency_keys.c.key == key).values(values))


def open_batch(connection: Connection, batch: str, dataset: int, run_id: str, names: Sequence[str], now: datetime) -> None:
    """Record the start of a batch of requests. A batch that is sent again replaces the earlier record."""
    connection.execute(delete(request_batches).where(request_batches.c.id == batch))
    values = {"id": batch, "dataset_id": dataset, "run_id": run_id, "total": len(names), "requests": json.dumps(list(names))}
    connection.execute(insert(request_batches), {**values, "started_at": now})


def close_batch(
    connection: Connection, batch: str, successful: int, failed: int, skipped: int, cost_pico: int, now: datetime
) -> None:
    """Record the counts and cost of a finished batch."""
    values = {"successful": successful, "failed": failed, "skipped": skipped, "cost_pico": cost_pico, "finished_at": now}
    connection.execute(update(request_batches).where(request_batches.c.id == batch).values(values))


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """A batch: its requests' names, counts and cost. `finished_at` is None while it runs, and if its caller left early."""

    id: str
    names: tuple[str, ...]
    started_at: datetime
    finished_at: datetime | None
    total: int
    successful: int
    failed: int
    skipped: int
    cost_usd: Decimal


def read_batches(connection: Connection, dataset: int, *, batch: str | None = None, limit: int = 50) -> list[BatchSummary]:
    """The newest batches, or the one with this id."""
    table = request_batches.c
    query = select(request_batches).where(table.dataset_id == dataset).order_by(table.started_at.desc()).limit(limit)
    if batch is not None:
        query = query.where(table.id == batch)
    return [
        BatchSummary(
            row.id,
            tuple(json.loads(row.requests)),
            row.started_at,
            row.finished_at,
            row.total,
            row.successful,
            row.failed,
            row.skipped,
            usd(row.cost_pico),
        )
        for row in connection.execute(query)
    ]


def _named(dataset: int, name: str) -> Select[Any]:
    return select(requests.c.id, requests.c.state, requests.c.request).where(
        requests.c.draw_key == draw_key(name, 0), requests.c.dataset_id == dataset
    )
