"""Signatures of conversations in the ledger, and the pairs that resemble each other. Texts are read only of what has no signature yet."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, case, delete, exists, func, insert, or_, select, text, update

from convoforge.ledger.answers import read_conversation
from convoforge.ledger.requests import split_chunks
from convoforge.ledger.reviews import join_deciding
from convoforge.ledger.tables import IS_HELD, answers, datasets, near_pairs, requests, reviews, signatures
from convoforge.models import Conversation
from convoforge.scoring.similarity import SIGNATURE_VERSION, Signed

_CHUNK = 2_000
_LOCK = 40578  # of PostgreSQL, among the advisory ones

_SIGNATURE = ("request_id", "attempt", "version", "signature")
_IS_SIGNED = exists().where(
    signatures.c.request_id == requests.c.id,
    signatures.c.attempt == requests.c.answer,
    signatures.c.version == SIGNATURE_VERSION,
)


def list_unsigned(connection: Connection, among: Collection[int]) -> array[int]:
    """The requests of some datasets whose conversation has no signature of today's version."""
    query = select(requests.c.id).join(answers, IS_HELD).where(requests.c.dataset_id.in_(among), answers.c.kind == "ok")
    return array("q", connection.execute(query.where(~_IS_SIGNED).execution_options(yield_per=_CHUNK)).scalars())


TurnsKey = tuple[int, int]
"""Which turns of a request are published: those of an attempt, or those of an edit of it; the edit is 0 where there is none."""


def read_unsigned(connection: Connection, ids: Sequence[int]) -> list[tuple[int, TurnsKey, tuple[int, int, str], Conversation]]:
    """The conversations that some requests hold, as they are published: (request, its turns, its order among all, conversation)."""
    return [
        (row.id, (row.attempt, row.edit), (row.dataset_id, row.draw, row.cell), read_conversation(row.turns, None))
        for row in _read_held(connection, ids, func.coalesce(reviews.c.turns, answers.c.turns).label("turns"))
    ]


def _read_held(connection: Connection, ids: Sequence[int], *columns: Any) -> Iterator[Any]:
    edit = case((reviews.c.turns.is_not(None), reviews.c.id), else_=0).label("edit")
    query = _select_held(answers.c.attempt, edit, *columns).join(answers, IS_HELD)
    for chunk in split_chunks(ids):
        yield from connection.execute(join_deciding(query, among=chunk).where(requests.c.id.in_(chunk)))


def read_signatures(connection: Connection, provider: str, after: int) -> Iterator[tuple[int, Signed]]:
    """Every signature of a provider's conversations with an id above `after`, by its id."""
    query = _select_signed(provider, after).order_by(signatures.c.id).execution_options(yield_per=_CHUNK)
    for row in connection.execute(query):
        yield row.number, Signed(row.id, (row.dataset_id, row.draw, row.cell), row.signature)


def _select_signed(provider: str, after: int) -> Select[Any]:
    """What is compared with each other: what was signed by another release, or for another provider, is not."""
    return (
        _select_held(signatures.c.id.label("number"), signatures.c.signature)
        .join(signatures, signatures.c.request_id == requests.c.id)
        .join(datasets, datasets.c.id == requests.c.dataset_id)
        .where(datasets.c.provider == provider, signatures.c.version == SIGNATURE_VERSION, signatures.c.id > after)
    )


def _select_held(*columns: Any) -> Select[Any]:
    return select(requests.c.id, requests.c.dataset_id, requests.c.draw, requests.c.cell, *columns).select_from(requests)


def write_signatures(
    connection: Connection,
    signed: Sequence[tuple[TurnsKey, Signed]],
    pairs: Sequence[tuple[int, int, float]],
    provider: str,
    seen: int,
) -> bool:
    """Store signatures, each with the turns that it is of, and the pairs found; what has other turns by now is left out. Not if the
    provider has others above the id `seen`, which have not been compared with these: then it returns false."""
    _lock(connection)
    if connection.execute(_select_signed(provider, seen).limit(1)).first() is not None:
        return False
    held = {row.id: (row.attempt, row.edit) for row in _read_held(connection, [one.request_id for _, one in signed])}
    changed = {one.request_id for turns, one in signed if held.get(one.request_id) != turns}
    signed = [(turns, one) for turns, one in signed if one.request_id not in changed]
    pairs = [pair for pair in pairs if changed.isdisjoint(pair[:2])]
    for chunk in split_chunks([one.request_id for _, one in signed]):
        connection.execute(delete(signatures).where(signatures.c.request_id.in_(chunk)))
        connection.execute(delete(near_pairs).where(or_(near_pairs.c.request_id.in_(chunk), near_pairs.c.other_id.in_(chunk))))
    for some in split_chunks(signed):
        rows = [(one.request_id, attempt, SIGNATURE_VERSION, one.signature) for (attempt, _), one in some]
        connection.execute(insert(signatures), [dict(zip(_SIGNATURE, row, strict=True)) for row in rows])
    for found in split_chunks(pairs):
        connection.execute(insert(near_pairs), [dict(zip(near_pairs.c.keys(), row, strict=True)) for row in found])
    return True


def _lock(connection: Connection) -> None:
    """Let one transaction at a time change signatures. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


@dataclass(frozen=True, slots=True)
class NearPair:
    """A request of a dataset, another that it resembles, to what share, and what of the other is known: its dataset, its conversation,
    whether any version has held it."""

    request_id: int
    other_id: int
    similarity: float
    dataset: int
    conversation_id: str
    published: bool


def read_near_pairs(connection: Connection, dataset: int, at_least: float) -> list[NearPair]:
    """The pairs of a dataset's requests with any others, both ways."""
    found = []
    for own, other in ((near_pairs.c.request_id, near_pairs.c.other_id), (near_pairs.c.other_id, near_pairs.c.request_id)):
        mine = requests.alias()
        query = (
            select(own, other, near_pairs.c.similarity, requests.c.dataset_id, answers.c.conversation_id, requests.c.published)
            .join(mine, mine.c.id == own)
            .join(requests, requests.c.id == other)
            .join(answers, IS_HELD)
            .where(mine.c.dataset_id == dataset, near_pairs.c.similarity >= at_least)
        )
        found += [NearPair(*row[:-1], published=row[-1] is not None) for row in connection.execute(query)]
    return found


def forget_signature(connection: Connection, request_id: int) -> None:
    """Have a request's conversation signed and compared anew: it has other turns now."""
    _lock(connection)
    connection.execute(delete(signatures).where(signatures.c.request_id == request_id))


def list_published(connection: Connection, dataset: int) -> set[int]:
    """The requests of a dataset whose conversation a version has held."""
    return set(
        connection.execute(select(requests.c.id).where(requests.c.dataset_id == dataset, requests.c.published > 0)).scalars()
    )


def mark_published(connection: Connection, ids: Sequence[int], version: int) -> None:
    """Note the version that has held some requests' conversations first."""
    for chunk in split_chunks(ids):
        never = and_(requests.c.id.in_(chunk), requests.c.published.is_(None))
        connection.execute(update(requests).where(never).values(published=version))
