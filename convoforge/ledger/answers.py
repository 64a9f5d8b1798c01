"""What requests hold, to be scored, judged, published and shown: their answers, with conversations and logs."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, bindparam, exists, func, select, update

from convoforge.ledger.attempts import SCORE_COLUMNS, content_values, score_values
from convoforge.ledger.requests import split_chunks
from convoforge.ledger.reviews import join_deciding, read_turns
from convoforge.ledger.tables import IS_ATTEMPT_OF, IS_HELD, answers, generation_logs, requests, reviews
from convoforge.models import UNJUDGED, Conversation, Scalar
from convoforge.scoring import Scored, ScoringContext

_NO_KEYS: Mapping[int, str] = {}
_READ_AT_ONCE = 500

Unscored = tuple[int, int, Conversation, ScoringContext]
"""Request and attempt of a conversation, itself, and the values that it was requested with."""

Score = tuple[int, int, Scored, str]
"""Request and attempt of a conversation, its results, and its content hash."""


def list_unscored(connection: Connection, dataset_id: int, rubric: str) -> array[int]:
    """The requests of a dataset whose conversation is not scored with this version of a rubric, or has been judged since."""
    judging, current = requests.alias(), _current(answers.c.request_id).execution_options(yield_per=_READ_AT_ONCE)
    came = exists().where(judging.c.draw_key == answers.c.judge_key, judging.c.state.in_(("held", "failed")))
    # two queries, each with its index: one with "or" would read the answers themselves
    older = current.where(answers.c.kind == "ok", answers.c.rubric.is_distinct_from(rubric), requests.c.dataset_id == dataset_id)
    due = current.where(
        answers.c.rejection.is_not(None), answers.c.rejection == UNJUDGED, came, requests.c.dataset_id == dataset_id
    )
    return array("q", dict.fromkeys([*connection.execute(older).scalars(), *connection.execute(due).scalars()]))


def read_unscored(connection: Connection, dataset: str, ids: Sequence[int], parameters: Mapping[str, Scalar]) -> list[Unscored]:
    """The conversations that some requests of a dataset hold."""
    asked = [requests.c[name] for name in ("template", "persona", "emotion", "topic", "tier")]
    query = _current(answers.c.request_id, answers.c.attempt, answers.c.turns, answers.c.system, *asked)
    return [
        (
            row.request_id,
            row.attempt,
            read_conversation(row.turns, row.system),
            ScoringContext.of(dataset, row, parameters),
        )
        for chunk in split_chunks(ids)
        for row in connection.execute(query.where(requests.c.id.in_(chunk)))
    ]


_CONTENT_COLUMNS = ("content_hash", "content_key")
_SCORED = (
    update(answers)
    .where(answers.c.request_id == bindparam("b_request"), answers.c.attempt == bindparam("b_attempt"))
    .values({name: bindparam(name) for name in (*SCORE_COLUMNS, *_CONTENT_COLUMNS, "judge_key")})
)


def write_scores(connection: Connection, scores: Sequence[Score], judge_keys: Mapping[int, str] = _NO_KEYS) -> None:
    """Store what scorers, filters and a judge have said. `judge_keys` are the draw keys of what judges them, by request."""
    rows = [
        {
            "b_request": request,
            "b_attempt": attempt,
            "judge_key": judge_keys.get(request),
            **score_values(scored),
            **content_values(content_hash),
        }
        for request, attempt, scored, content_hash in scores
    ]
    if rows:
        connection.execute(_SCORED, rows)


def read_answers(connection: Connection, ids: Sequence[int]) -> Iterator[Any]:
    """Yield the answers that requests hold, in the order of `ids`, joined with request and log; one chunk in memory at a time. `edited`
    are the turns that a reviewer has put in the place of `turns`, `decision` is what a reviewer has decided; None where there is none."""
    query = _current(
        requests,
        answers,
        generation_logs.c.run_id,
        generation_logs.c.provider,
        func.coalesce(generation_logs.c.answered_model, generation_logs.c.model).label("model"),
        generation_logs.c.api_request_id,
        generation_logs.c.latency_ms,
        generation_logs.c.input_tokens,
        generation_logs.c.output_tokens,
        generation_logs.c.cache_read_tokens,
        generation_logs.c.cache_write_5m_tokens,
        generation_logs.c.cache_write_1h_tokens,
        generation_logs.c.cost_pico,
        reviews.c.turns.label("edited"),
        reviews.c.decision,
    ).join(generation_logs, IS_ATTEMPT_OF)
    for chunk in split_chunks(ids):
        chosen = join_deciding(query, among=chunk).where(requests.c.id.in_(chunk))
        rows = {row.id: row for row in connection.execute(chosen)}
        yield from (rows[request_id] for request_id in chunk if request_id in rows)


def read_refused(connection: Connection, ids: Sequence[int]) -> Iterator[Any]:
    """Requests that the API refused, with the attempt that it refused last beside them."""
    logs, later = generation_logs.c, generation_logs.alias()
    columns = (logs[name] for name in ("run_id", "provider", "model", "api_request_id", "cost_pico", "finished_at"))
    is_last = ~select(later.c.attempt).where(later.c.request_id == logs.request_id, later.c.attempt > logs.attempt).exists()
    query = select(requests, *columns).join(generation_logs, logs.request_id == requests.c.id).where(is_last)
    for chunk in split_chunks(ids):
        yield from connection.execute(query.where(requests.c.id.in_(chunk)))


def read_newest(connection: Connection, dataset_id: int) -> list[tuple[str, str, Conversation]]:
    """Persona, topic and conversation of the 500 requests registered last that hold one, the newest at the end."""
    query = _current(requests.c.persona, requests.c.topic, answers.c.turns, answers.c.system)
    query = query.where(requests.c.dataset_id == dataset_id, answers.c.kind == "ok").order_by(requests.c.id.desc()).limit(500)
    return [
        (row.persona, row.topic, read_conversation(row.turns, row.system)) for row in reversed(connection.execute(query).all())
    ]


def sum_paid(connection: Connection, ids: Sequence[int]) -> int:
    """Total cost of the answers that requests hold, in pico-dollars."""
    query = _current(func.coalesce(func.sum(generation_logs.c.cost_pico), 0)).join(generation_logs, IS_ATTEMPT_OF)
    return sum(int(connection.execute(query.where(requests.c.id.in_(chunk))).scalar_one()) for chunk in split_chunks(ids))


def read_conversation(turns: str, system: str | None) -> Conversation:
    """Read a conversation from its columns."""
    return Conversation(read_turns(turns), system)


def read_published(row: Any) -> Conversation:
    """The conversation of a row of `read_answers` as it is published: as a reviewer has edited it, if one has."""
    return read_conversation(row.edited or row.turns, row.system)


def write_conversation(conversation: Conversation) -> str:
    """The turns as the ledger stores them: a JSON list of [role, content]."""
    return orjson.dumps([(turn.role, turn.content) for turn in conversation.turns]).decode()


def _current(*columns: Any) -> Select[Any]:
    return select(*columns).select_from(requests).join(answers, IS_HELD)
