"""How far runs are, and what they have paid, from their calls in the ledger: also of runs that go on, or were killed; and what the other
processes of a run have done up to now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, literal, or_, select

from convoforge.ledger.requests import list_unanswered
from convoforge.ledger.tables import IS_ATTEMPT_OF, IS_GENERATED, answers, generation_logs, requests


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Counts of a run. `calls` were begun, `in_window` of them since the moment that was asked for, `in_flight` have not ended; `answers`
    came back; `failed` requests have no answer. `left` are requests of its dataset that wait or are claimed. Money is in pico-dollars:
    what is known to be paid, and the worst that may have been billed beyond it."""

    calls: int
    answers: int
    in_flight: int
    in_window: int
    failed: int
    left: int
    cost_pico: int
    maybe_pico: int
    first_call: datetime | None
    last_end: datetime | None

    @property
    def done(self) -> int:
        """Requests that have come to an end."""
        return self.answers + self.failed


def read_run_figures(connection: Connection, run_id: str, dataset_id: int, since: datetime) -> RunFigures:
    """The figures of a run up to now; `since` is when the last window of its rate began."""
    logs = generation_logs.c
    counted = (
        func.count(),
        func.count(case((and_(logs.status == "succeeded", logs.purpose == "conversation"), 1))),
        func.count(case((logs.status == "open", 1))),
        func.count(case((logs.started_at >= since, 1))),
        func.coalesce(func.sum(logs.cost_pico), 0),
        func.coalesce(func.sum(logs.maybe_pico), 0),
        func.min(logs.started_at),
        func.max(logs.finished_at),
    )
    query = select(*counted).where(logs.run_id == run_id)
    calls, answered, in_flight, in_window, cost, maybe, first, last = connection.execute(query).one()
    waiting = and_(IS_GENERATED, requests.c.dataset_id == dataset_id, requests.c.state.in_(("pending", "claimed")))
    failed = list_unanswered(connection, run_id)
    left = connection.execute(select(func.count()).select_from(requests).where(waiting)).scalar_one()
    return RunFigures(
        calls, answered, in_flight, in_window, len(failed), max(0, left - len(failed)), int(cost), int(maybe), first, last
    )


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
