"""What a run has done up to now, in all its processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, case, func, or_, select

from convoforge.costs.accepted import read_accepted
from convoforge.ledger.requests import split_chunks
from convoforge.ledger.tables import IS_ATTEMPT_OF, IS_HELD, answers, generation_logs, requests


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What a run has done up to now, in all its processes. `generated` counts answers; those without a score yet are in none of
    `accepted`, `needs_revision` and `dropped`."""

    generated: int
    accepted: int
    needs_revision: int
    dropped: int
    in_flight: int
    cost_pico: int


def read_run_totals(connection: Connection, run_id: str, min_score: int) -> RunTotals:
    """What one run has done: accepted is what its dataset would publish today, of which a copy or a draw in reserve is no part."""
    logs = generation_logs.c
    conversation, rejection = answers.c.kind == "ok", answers.c.rejection
    kept = and_(conversation, rejection.is_(None))
    counted = (
        logs.status == "succeeded",
        and_(kept, answers.c.score >= min_score),
        or_(and_(kept, answers.c.score < min_score), rejection == "revise"),
        or_(answers.c.kind != "ok", rejection == "drop"),
        logs.status == "open",
    )
    query = (
        select(*(func.count(case((one, 1))) for one in counted), func.coalesce(func.sum(logs.cost_pico), 0))
        .select_from(generation_logs)
        .outerjoin(answers, IS_ATTEMPT_OF)
        .where(logs.run_id == run_id)
    )
    totals = RunTotals(*(int(one) for one in connection.execute(query).one()))
    good = read_accepted(connection)
    accepted, needs_revision, dropped = totals.accepted, totals.needs_revision, totals.dropped
    held = (
        select(requests.c.id, answers.c.kind, answers.c.score, rejection)
        .join(answers, IS_HELD)
        .join(generation_logs, IS_ATTEMPT_OF)
        .where(logs.run_id == run_id)
    )
    for ids in split_chunks(sorted(good.judged)):
        for request, kind, score, rejected in connection.execute(held.where(requests.c.id.in_(ids))):
            reaches = kind == "ok" and score is not None and score >= min_score and rejected is None
            accepted += (request in good.accepted) - reaches
            if request in good.accepted and not reaches:  # a review has let it in
                dropped -= rejected == "drop"
                needs_revision -= rejected != "drop"
    return replace(totals, accepted=accepted, needs_revision=needs_revision, dropped=dropped)
