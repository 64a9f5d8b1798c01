"""What the other processes of a run have done up to now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, literal, or_, select

from convoforge.ledger.tables import IS_ATTEMPT_OF, answers, generation_logs


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Counts of answers and of calls in flight, and what was paid for them. `generated` counts every answer; those without a score yet
    are in none of `accepted`, `needs_revision` and `dropped`, which go by score and filters alone. `in_window` are the calls begun since
    a moment that was asked for."""

    generated: int = 0
    accepted: int = 0
    needs_revision: int = 0
    dropped: int = 0
    in_flight: int = 0
    cost_pico: int = 0
    in_window: int = 0


def read_totals_of_others(
    connection: Connection, run_id: str, owner: str, min_score: int, since: datetime | None = None
) -> RunTotals:
    """What all owners but one have done for a run, and how many calls they have begun since a moment."""
    logs = generation_logs.c
    kept = and_(answers.c.kind == "ok", answers.c.rejection.is_(None))
    counted = (
        and_(logs.status == "succeeded", logs.purpose == "conversation"),
        and_(kept, answers.c.score >= min_score),
        or_(and_(kept, answers.c.score < min_score), answers.c.rejection == "revise"),
        or_(answers.c.kind.not_in(("ok", "judged")), answers.c.rejection == "drop"),
        logs.status == "open",
    )
    query = (
        select(
            *(func.count(case((one, 1))) for one in counted),
            func.coalesce(func.sum(logs.cost_pico), 0),
            literal(0) if since is None else func.count(case((logs.started_at >= since, 1))),
        )
        .select_from(generation_logs)
        .outerjoin(answers, IS_ATTEMPT_OF)
        .where(logs.run_id == run_id, logs.owner != owner)
    )
    return RunTotals(*map(int, connection.execute(query).one()))
