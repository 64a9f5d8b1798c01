"""Draws in the ledger: registered once, claimed by one owner, held with an answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any

from sqlalchemy import Connection, Select, case, func, insert, select, update

from convoforge.ledger.attempts import read_quality
from convoforge.ledger.connect import upsert
from convoforge.ledger.owners import list_dead_owners, release
from convoforge.ledger.reviews import join_deciding
from convoforge.ledger.tables import IS_GENERATED, IS_HELD, answers, generation_logs, requests, reviews
from convoforge.models import Purpose
from convoforge.planning.draws import Draw
from convoforge.planning.grid import Values
from convoforge.planning.keys import draw_key
from convoforge.planning.plan import Cell

_NO_LINES: Mapping[str, str] = {}

_CHUNK = 500
"""Maximum rows per statement: SQLite takes 32,766 variables, and a shorter statement is not slower."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request that this owner may generate. `attempts` is the number of earlier attempts, over all runs; `lines` are those of its
    cell."""

    request_id: int
    cell: str
    draw: int
    attempts: int
    lines: str | None = None


def register_draws(
    connection: Connection,
    dataset_id: int,
    draws: Sequence[tuple[Cell, int]],
    lines: Mapping[str, str] = _NO_LINES,
    purpose: Purpose = "conversation",
) -> int:
    """Register draws as pending. Those already registered are not changed. Returns the number of new ones. `lines` are the variation lines
    of cells, by their keys."""
    before = _count(connection, dataset_id)
    statement = upsert(connection.dialect.name, requests).on_conflict_do_nothing(index_elements=["draw_key"])
    for chunk in split_chunks(draws):
        connection.execute(
            statement,
            [{**_make_row(dataset_id, cell, draw), "lines": lines.get(cell.key), "purpose": purpose} for cell, draw in chunk],
        )
    return _count(connection, dataset_id) - before


def read_lines(connection: Connection, dataset_id: int) -> dict[str, tuple[Values, str]]:
    """The values and variation lines of the cells that have lines of their own, by their keys."""
    columns = [requests.c[name] for name in ("cell", "persona", "emotion", "topic", "tier", "template", "lines")]
    query = select(*columns).where(requests.c.dataset_id == dataset_id, requests.c.draw == 0, requests.c.lines.is_not(None))
    return {cell: ((*values,), lines) for cell, *values, lines in connection.execute(query)}


def register_one(connection: Connection, dataset_id: int, cell: Cell, request: str) -> int:
    """Register one ad-hoc request; `cell.key` is its nonce. Returns the request's id."""
    values = {**_make_row(dataset_id, cell, 0), "request": request}
    return int(connection.execute(insert(requests).returning(requests.c.id), values).scalar_one())


def _make_row(dataset_id: int, cell: Cell, draw: int) -> dict[str, Any]:
    axes = {name: getattr(cell, name) for name in ("persona", "emotion", "topic", "tier", "template")}
    key = {"draw_key": draw_key(cell.key, draw), "cell": cell.key, "draw": draw}
    return {"dataset_id": dataset_id, "state": "pending", **key, **axes}


def claim(connection: Connection, owner: str, ids: Sequence[int], now: datetime) -> list[Claimed]:
    """Claim pending requests for `owner`, and those whose owner is dead. Those that a living owner has claimed are left out."""
    dead = list_dead_owners(connection, now, but=owner)
    release(connection, dead, now)
    taken: list[Claimed] = []
    for chunk in split_chunks(ids):
        statement = (
            update(requests)
            .where(requests.c.id.in_(chunk), requests.c.state == "pending")
            .values(state="claimed", owner=owner)
            .returning(requests.c.id, requests.c.cell, requests.c.draw, requests.c.lines)
        )
        rows = connection.execute(statement).all()
        attempts: dict[int, int] = {
            row[0]: row[1]
            for row in connection.execute(
                select(generation_logs.c.request_id, func.max(generation_logs.c.attempt))
                .where(generation_logs.c.request_id.in_([row.id for row in rows]))
                .group_by(generation_logs.c.request_id)
            )
        }
        taken.extend(Claimed(row.id, row.cell, row.draw, attempts.get(row.id, 0), row.lines) for row in rows)
    order = {request_id: index for index, request_id in enumerate(ids)}
    return sorted(taken, key=lambda one: order[one.request_id])


def release_claims(connection: Connection, owner: str, ids: Sequence[int], reason: str) -> None:
    """Make claimed requests pending again, with the reason why they were not finished."""
    for chunk in split_chunks(ids):
        connection.execute(
            update(requests)
            .where(requests.c.id.in_(chunk), requests.c.owner == owner, requests.c.state == "claimed")
            .values(state="pending", owner=None, reason=reason)
        )


def list_unanswered(connection: Connection, run_id: str) -> set[int]:
    """The requests without an answer for which an attempt of this run failed."""
    query = (
        select(requests.c.id)
        .join(generation_logs, generation_logs.c.request_id == requests.c.id)
        .where(generation_logs.c.run_id == run_id, generation_logs.c.status == "failed", IS_GENERATED)
        .where(requests.c.state.in_(("pending", "failed")))
    )
    return set(connection.execute(query).scalars())


def requeue(connection: Connection, ids: Sequence[int]) -> None:
    """Make held or failed draws pending again, for a refresh, or for a refused request that has changed since."""
    for chunk in split_chunks(ids):
        connection.execute(
            update(requests).where(requests.c.id.in_(chunk), requests.c.state != "claimed").values(state="pending", reason=None)
        )


def read_draws(connection: Connection, dataset_id: int, rubric: str | None = None) -> list[Draw]:
    """Every draw of a dataset, with the decision of its reviews and the parts of its answer that decide about acceptance. With a
    `rubric` no score of another version counts: another process may have put it there meanwhile."""
    query = _draws_of(dataset_id)
    if rubric is not None:
        query = query.with_only_columns(
            *(case((answers.c.rubric == rubric, one)) if one is answers.c.score else one for one in query.selected_columns)
        )
    return _draws(connection, query)


def read_cell_draws(connection: Connection, dataset_id: int, cells: Collection[str]) -> list[Draw]:
    """As `read_draws`, for a few cells."""
    query = _draws_of(dataset_id)
    return [draw for chunk in split_chunks(sorted(cells)) for draw in _draws(connection, query.where(requests.c.cell.in_(chunk)))]


def _draws_of(dataset_id: int) -> Select[Any]:
    query = (
        select(
            requests.c.id,
            requests.c.cell,
            requests.c.draw,
            requests.c.state,
            func.coalesce(answers.c.fingerprint, requests.c.fingerprint),
            answers.c.kind,
            answers.c.score,
            answers.c.rejection,
            # results are long, and only needed for rejected answers
            case((answers.c.rejection.is_not(None), answers.c.results)),
            func.coalesce(reviews.c.content_hash, answers.c.content_hash),
            func.coalesce(answers.c.reason, requests.c.reason),
            reviews.c.decision,
            requests.c.lines,
        )
        .select_from(requests)
        .outerjoin(answers, IS_HELD)
        .where(requests.c.dataset_id == dataset_id, IS_GENERATED)
        .execution_options(yield_per=_CHUNK)
    )
    return join_deciding(query)


def _draws(connection: Connection, query: Select[Any]) -> list[Draw]:
    # a dataset may have a million draws, but few distinct texts: each is kept in memory once
    rows = connection.execute(query)
    return [
        Draw(
            request_id,
            intern(cell),
            draw,
            intern(state),
            _digest(fingerprint),
            _kept_once(kind),
            score,
            _digest(content),
            _kept_once(_why_rejected(score, results) or why),
            _kept_once(decision),
            _kept_once(rejection),
            lines,
        )
        for request_id, cell, draw, state, fingerprint, kind, score, rejection, results, content, why, decision, lines in rows
    ]


def _why_rejected(score: int | None, results: str | None) -> str | None:
    quality = read_quality(score, results) if results else None
    return quality.rejection[1] if quality and quality.rejection else None


def _digest(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)


def _kept_once(word: str | None) -> str | None:
    return None if word is None else intern(word)


def _count(connection: Connection, dataset_id: int) -> int:
    query = select(func.count()).select_from(requests).where(requests.c.dataset_id == dataset_id)
    return int(connection.execute(query).scalar_one())


def split_chunks(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Split items into chunks that fit into one statement."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
