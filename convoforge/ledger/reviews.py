"""Reviews in the ledger: what people have decided on conversations. A row is never changed: who changes their mind adds one, and an undo
is a row, too. The last row that no undo takes back decides, whoever wrote it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, Select, and_, func, insert, select

from convoforge.ledger.tables import IS_HELD, answers, requests, reviews
from convoforge.models import Turn

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
class Review:
    """A row: a decision on an answer (accept, reject, revise, edit), or an undo, which takes back the row `undoes`. `turns` are an edit's.
    `stands`: no undo takes it back; `decides`: it is the last of its answer that stands, and what counts."""

    id: int
    decision: str
    reviewer: str
    note: str
    turns: tuple[Turn, ...] | None
    undoes: int | None
    at: datetime
    stands: bool
    decides: bool


Reviews = Mapping[tuple[int, int], list[Review]]
"""The reviews of each answer, the oldest first, by its request and attempt."""


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


def lock_answer(connection: Connection, answer: HeldAnswer) -> None:
    """Let nobody else who asks for the same write a review of this answer before this transaction ends."""
    connection.execute(select(requests.c.id).where(requests.c.id == answer.request_id).with_for_update())


def read_answer_reviews(connection: Connection, request_id: int, attempt: int) -> list[Review]:
    """The reviews of one answer, the oldest first."""
    query = select(reviews).where(reviews.c.request_id == request_id, reviews.c.attempt == attempt).order_by(reviews.c.id)
    return _group(connection.execute(query)).get((request_id, attempt), [])


def read_dataset_reviews(connection: Connection, dataset_id: int) -> Reviews:
    """The reviews of all answers that a dataset's requests hold."""
    same = and_(requests.c.id == reviews.c.request_id, requests.c.answer == reviews.c.attempt)
    query = select(reviews).join(requests, same).where(requests.c.dataset_id == dataset_id).order_by(reviews.c.id)
    return _group(connection.execute(query))


def read_request_reviews(connection: Connection, ids: Sequence[int]) -> Reviews:
    """The reviews of the answers of some requests."""
    query = select(reviews).order_by(reviews.c.id)
    return _group(
        row
        for start in range(0, len(ids), _CHUNK)
        for row in connection.execute(query.where(reviews.c.request_id.in_(ids[start : start + _CHUNK])))
    )


def _group(rows: Iterable[Any]) -> Reviews:
    found = [*rows]
    undone = {row.undoes for row in found}
    standing = [row for row in found if row.decision != "undo" and row.id not in undone]
    ids, last = {row.id for row in standing}, {(row.request_id, row.attempt): row.id for row in standing}
    grouped: dict[tuple[int, int], list[Review]] = defaultdict(list)
    for row in found:
        answer = row.request_id, row.attempt
        grouped[answer].append(
            Review(
                id=row.id,
                decision=row.decision,
                reviewer=row.reviewer,
                note=row.note or "",
                turns=read_turns(row.turns) if row.turns else None,
                undoes=row.undoes,
                at=row.at,
                stands=row.id in ids,
                decides=row.id == last.get(answer),
            )
        )
    return grouped


def read_turns(text: str) -> tuple[Turn, ...]:
    """Turns as the ledger has them: a JSON list of [role, content]."""
    return tuple(Turn(role, content) for role, content in orjson.loads(text))


def read_edits(connection: Connection, dataset_id: int) -> Mapping[int, str]:
    """The requests of a dataset whose conversation is published as a reviewer has edited it, each with the SHA-256 of its turns."""
    query = join_deciding(select(requests.c.id, reviews.c.turns).select_from(requests).join(answers, IS_HELD))
    query = query.where(requests.c.dataset_id == dataset_id, reviews.c.turns.is_not(None))
    return {request: sha256(turns.encode()).hexdigest() for request, turns in connection.execute(query)}
