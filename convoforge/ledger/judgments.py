"""Requests to a judge: found by their draw keys, asked again where an answer does not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, case, func, select, update

from convoforge.ledger.answers import read_conversation
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.requests import Claimed, claim, requeue, split_chunks
from convoforge.ledger.reviews import join_deciding
from convoforge.ledger.tables import IS_HELD, answers, generation_logs, requests, reviews
from convoforge.models import Conversation, Quality
from convoforge.scoring.judge import JudgeAnswer


def read_judgments(connection: Connection, keys: Sequence[str]) -> dict[str, JudgeAnswer]:
    """What is held of the requests with these draw keys, without those that are not registered."""
    paid = answers.alias()
    count = select(func.count()).where(paid.c.request_id == requests.c.id).scalar_subquery()
    columns = requests.c.draw_key, requests.c.id, requests.c.state, requests.c.reason, answers.c.attempt, answers.c.raw_text
    query = select(*columns, answers.c.reason.label("fault"), count.label("answers")).outerjoin(answers, IS_HELD)
    return {
        row.draw_key: JudgeAnswer(
            request_id=row.id,
            attempt=row.attempt or 0,
            text=row.raw_text,
            fault=row.fault or "",
            answers=row.answers,
            refused=(row.reason or "no reason is known") if row.state == "failed" else "",
        )
        for chunk in split_chunks(keys)
        for row in connection.execute(query.where(requests.c.draw_key.in_(chunk)))
    }


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A conversation that a person has reviewed, whether it was accepted, and the draw key of what judges it."""

    request_id: int
    accepted: bool
    judge_key: str | None
    conversation: Conversation


def read_reviewed(connection: Connection, dataset_id: int) -> list[Reviewed]:
    """The conversations that the requests of a dataset hold and that were reviewed, by the review of each that decides. Edited ones are
    left out: that one was edited tells neither that its original was good nor that it was bad."""
    columns = requests.c.id, reviews.c.decision, answers.c.judge_key, answers.c.turns, answers.c.system
    query = join_deciding(select(*columns).select_from(requests).join(answers, IS_HELD))
    query = query.where(requests.c.dataset_id == dataset_id, answers.c.kind == "ok", reviews.c.decision != "edit")
    return [
        Reviewed(row.id, row.decision == "accept", row.judge_key, read_conversation(row.turns, row.system))
        for row in connection.execute(query.order_by(requests.c.id))
    ]


def read_judged(connection: Connection, dataset_id: int) -> dict[int, Quality]:
    """The requests of a dataset whose conversation a judge was to read, with what is said of it."""
    query = select(requests.c.id, answers.c.score, answers.c.results).join(answers, IS_HELD)
    rows = connection.execute(query.where(requests.c.dataset_id == dataset_id, answers.c.judge_key.is_not(None)))
    return {request: quality for request, score, results in rows if (quality := read_quality(score, results))}


def read_judge_costs(connection: Connection, run_id: str) -> tuple[int, int]:
    """How many answers of a judge a run has brought, and what its calls to the judge cost, in pico-dollars."""
    logs = generation_logs.c
    counted = func.count(case((logs.status == "succeeded", 1))), func.coalesce(func.sum(logs.cost_pico), 0)
    count, pico = connection.execute(select(*counted).where(logs.run_id == run_id, logs.purpose == "judge")).one()
    return int(count), int(pico)


def claim_judgments(connection: Connection, owner: str, keys: Sequence[str], now: datetime) -> list[Claimed]:
    """Claim the pending requests with these draw keys, as `claim` does."""
    ids = [one.request_id for one in read_judgments(connection, keys).values()]
    return claim(connection, owner, ids, now)


def ask_refused_again(connection: Connection, ids: Sequence[int]) -> None:
    """Ask the judge of the conversations that some requests hold once more, where the API has refused to let it read them: its requests
    are pending again, and what was said of the conversations is to be computed again."""
    for chunk in split_chunks(ids):
        held = answers.c.request_id.in_(chunk)
        judging = requests.c.draw_key.in_(select(answers.c.judge_key).where(held))
        requeue(connection, [*connection.execute(select(requests.c.id).where(judging, requests.c.state == "failed")).scalars()])
        connection.execute(update(answers).where(held).values(rubric=None))


_AGAIN = (
    update(requests)
    .where(requests.c.id == bindparam("b_id"), requests.c.answer == bindparam("b_attempt"), requests.c.state == "held")
    .values(state="pending")
)


def ask_again(connection: Connection, useless: Sequence[JudgeAnswer]) -> None:
    """Make requests pending again whose answer does not count, unless another one has come since."""
    if useless:
        connection.execute(_AGAIN, [{"b_id": one.request_id, "b_attempt": one.attempt} for one in useless])
