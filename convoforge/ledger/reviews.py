"""Reviews in the ledger: what people have decided on conversations. A row is never changed: who changes their mind adds one, and an undo
is a row, too. The last row that no undo takes back decides, whoever wrote it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import Connection, Select, and_, func, insert, select

from convoforge.ledger.tables import IS_HELD, answers, requests, reviews

Decision = Literal["accept", "reject", "revise", "edit"]
"""What a reviewer decides: publish it; drop it; send it back, which asks for another draw too; publish it with other turns."""

_CHUNK = 500

_UNDONE = select(reviews.c.undoes).where(reviews.c.undoes.is_not(None))
_STANDS = and_(reviews.c.decision != "undo", reviews.c.id.not_in(_UNDONE))


def join_deciding(query: Select[Any], among: Collection[int] | None = None) -> Select[Any]:
    """Join answers with the review that decides on each, null where there is none; `among` some requests, where it is asked for a few."""
    last = select(reviews.c.request_id, reviews.c.attempt, func.max(reviews.c.id).label("id")).where(_STANDS)
    if among is not None:
        last = last.where(reviews.c.request_id.in_(among))
    # a table of its own: SQLite would look up each id of a list for each answer
    found = last.group_by(reviews.c.request_id, reviews.c.attempt).subquery()
    same = and_(found.c.request_id == answers.c.request_id, found.c.attempt == answers.c.attempt)
    return query.outerjoin(found, same).outerjoin(reviews, reviews.c.id == found.c.id)


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A row: a decision on the answer `attempt` of a request; or, where `decision` is undo, that the row `undoes` no longer counts.
    `turns` are an edit's, as JSON. `stands` unless an undo takes it back."""

    id: int
    request_id: int
    attempt: int
    decision: str
    reviewer: str
    note: str
    turns: str | None
    undoes: int | None
    at: datetime
    stands: bool


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """An answer that a conversation's id names: of which request and attempt, of which kind, the template's system turn, the turns as JSON
    (none where it holds no conversation), and whether its request still holds it."""

    request_id: int
    attempt: int
    dataset_id: int
    kind: str
    turns: str | None
    system: str | None
    is_held: bool


def find_answer(connection: Connection, conversation_id: str) -> HeldAnswer | None:
    """The answer with this conversation id: the one that its request holds, or else the newest."""
    columns = answers.c.request_id, answers.c.attempt, requests.c.dataset_id, answers.c.kind, answers.c.turns, answers.c.system
    query = (
        select(*columns, func.coalesce(requests.c.answer == answers.c.attempt, False))
        .join(requests, requests.c.id == answers.c.request_id)
        .where(answers.c.conversation_id == conversation_id)
    )
    rows = [HeldAnswer(*row) for row in connection.execute(query)]
    return max(rows, key=lambda one: (one.is_held, one.attempt), default=None)


def add_review(
    connection: Connection,
    answer: HeldAnswer,
    decision: str,
    reviewer: str,
    at: datetime,
    *,
    note: str = "",
    turns: str | None = None,
    content_hash: str | None = None,
    undoes: int | None = None,
) -> int:
    """Add a row; return its id. `content_hash` is that of the edited turns."""
    row = {"request_id": answer.request_id, "attempt": answer.attempt, "decision": decision, "reviewer": reviewer, "at": at}
    more = {"note": note or None, "turns": turns, "content_hash": content_hash, "undoes": undoes}
    return int(connection.execute(insert(reviews).returning(reviews.c.id), {**row, **more}).scalar_one())


def read_rows(connection: Connection, request_id: int, attempt: int) -> list[ReviewRow]:
    """The reviews of one answer, the oldest first."""
    query = select(reviews).where(reviews.c.request_id == request_id, reviews.c.attempt == attempt)
    return _make_rows(connection.execute(query.order_by(reviews.c.id)))


def read_dataset_rows(connection: Connection, dataset_id: int) -> list[ReviewRow]:
    """The reviews of all answers that a dataset's requests hold, the oldest first."""
    same = and_(requests.c.id == reviews.c.request_id, requests.c.answer == reviews.c.attempt)
    return _make_rows(
        connection.execute(select(reviews).join(requests, same).where(requests.c.dataset_id == dataset_id).order_by(reviews.c.id))
    )


def read_rows_of(connection: Connection, ids: Sequence[int]) -> list[ReviewRow]:
    """The reviews of the answers of some requests, the oldest first."""
    query = select(reviews).order_by(reviews.c.id)
    return _make_rows(
        row
        for start in range(0, len(ids), _CHUNK)
        for row in connection.execute(query.where(reviews.c.request_id.in_(ids[start : start + _CHUNK])))
    )


def _make_rows(rows: Iterable[Any]) -> list[ReviewRow]:
    found = [*rows]
    undone = {row.undoes for row in found}
    names = ("id", "request_id", "attempt", "decision", "reviewer")
    return [
        ReviewRow(
            **{name: getattr(row, name) for name in names},
            note=row.note or "",
            turns=row.turns,
            undoes=row.undoes,
            at=row.at,
            stands=row.decision != "undo" and row.id not in undone,
        )
        for row in found
    ]


def read_edits(connection: Connection, dataset_id: int) -> Mapping[int, str]:
    """The requests of a dataset whose conversation is published as a reviewer has edited it, each with the SHA-256 of its turns."""
    query = join_deciding(select(requests.c.id, reviews.c.turns).select_from(requests).join(answers, IS_HELD))
    query = query.where(requests.c.dataset_id == dataset_id, reviews.c.turns.is_not(None))
    return {request: sha256(turns.encode()).hexdigest() for request, turns in connection.execute(query)}
