"""What came of paid attempts: conversations, those of them accepted today, what was dropped or replaced; and how long they took.

An answer of a period is accepted where it is one of those that its dataset would publish today, under the plan, threshold and number
per cell of its last build: so a review or a new threshold changes what a past month has brought, and the months add up to the whole.
`accepted` says which they are. A million answers are counted by (page, kind, score) in one index, as if the score decided on each alone;
the cells on which it does not are few, and their answers are looked at one by one, as are those of hours that the period cuts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, String, and_, cast, func, select

from convoforge.costs.accepted import Accepted, read_accepted
from convoforge.costs.period import GroupBy, Period, group_names, group_of_log, group_of_page
from convoforge.ledger.requests import chunks
from convoforge.ledger.rollups import is_on
from convoforge.ledger.tables import answers, generation_logs, pages, requests

_LOGS = generation_logs.c
_ANSWER = [answers.c[name] for name in ("request_id", "attempt", "kind", "score", "paid_pico")]
_OF_LOG = and_(_LOGS.request_id == answers.c.request_id, _LOGS.attempt == answers.c.attempt)


@dataclass(slots=True)
class AnswerTotals:
    """What came of some attempts. Money is in pico-dollars. Each of the `answers` is accepted, superseded (its request holds another),
    or dropped: paid for, and of no use today."""

    answers: int = 0
    answers_pico: int = 0
    conversations: int = 0
    accepted: int = 0
    accepted_pico: int = 0
    superseded: int = 0
    superseded_pico: int = 0

    @property
    def dropped(self) -> int:
        return self.answers - self.accepted - self.superseded

    @property
    def dropped_pico(self) -> int:
        return self.answers_pico - self.accepted_pico - self.superseded_pico

    def add(self, kind: str, count: int, pico: int) -> None:
        """Count answers of a kind."""
        self.answers += count
        self.answers_pico += pico
        self.conversations += count if kind == "ok" else 0

    def accept(self, count: int, pico: int) -> None:
        """Count them among the accepted; a negative number takes them out again."""
        self.accepted += count
        self.accepted_pico += pico

    def supersede(self, pico: int) -> None:
        """Count one that was replaced."""
        self.superseded += 1
        self.superseded_pico += pico


@dataclass(slots=True)
class PeriodTotals:
    """What came of a period's attempts, by group, and of all of them. `latencies` are by group, too: the milliseconds that successful
    calls took, written one after the other with commas between, in several texts."""

    total: AnswerTotals = field(default_factory=AnswerTotals)
    groups: dict[str, AnswerTotals] = field(default_factory=lambda: defaultdict(AnswerTotals))
    latencies: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def of(self, group: str) -> tuple[AnswerTotals, AnswerTotals]:
        """All that an attempt of a group counts in."""
        return self.total, self.groups[group]


def read_outcomes(connection: Connection, period: Period, by: GroupBy | None) -> PeriodTotals:
    """What came of a period's attempts; without `by` they are one group, called by the empty text."""
    found = PeriodTotals()
    good = read_accepted(connection)
    names = group_names(connection, by)
    _count_pages(connection, period, by, names, good, found)
    _count_singly(connection, period, by, names, good, found)
    if period.cut_hours():
        cut = select(group_of_log(by, connection.dialect.name), _LOGS.latency_ms).where(
            period.of_logs(), period.of_cut_hours(), _LOGS.status == "succeeded", _LOGS.latency_ms.is_not(None)
        )
        for group, milliseconds in connection.execute(cut):
            found.latencies[names.get(group, str(group))].append(str(milliseconds))
    return found


def _count_pages(
    connection: Connection,
    period: Period,
    by: GroupBy | None,
    names: Mapping[Any, str],
    good: Accepted,
    found: PeriodTotals,
) -> None:
    """Count the answers on whole pages by what their score says, and collect their latencies."""
    succeeded = and_(period.of_pages(), pages.c.status == "succeeded")
    own = select(pages.c.id, group_of_page(by, connection.dialect.name), pages.c.dataset_id, pages.c.attempts).where(succeeded)
    on: dict[int, tuple[str, int]] = {}
    silent: dict[int, int] = {}
    for page, group, dataset, attempts in connection.execute(own):
        on[page], silent[page] = (names.get(group, str(group)), dataset), attempts
    counted = (
        select(
            answers.c.page,
            answers.c.kind,
            answers.c.score,
            func.count(),
            func.sum(answers.c.paid_pico),
            func.aggregate_strings(cast(answers.c.latency_ms, String), ","),
        )
        .join(pages, pages.c.id == answers.c.page)
        .where(succeeded)
        .group_by(answers.c.page, answers.c.kind, answers.c.score)
    )
    for page, kind, score, count, pico, latencies in connection.execute(counted):
        group, dataset = on[page]
        silent[page] -= count
        found.latencies[group] += [latencies] if latencies else []
        for outcome in found.of(group):
            outcome.add(kind, count, int(pico))
            if good.rules[dataset].reaches(kind, score):
                outcome.accept(count, int(pico))
    for page in [
        page for page, count in silent.items() if count
    ]:  # calls that succeeded and left no answer: nobody of ours does so
        left = (
            select(_LOGS.latency_ms)
            .select_from(generation_logs)
            .join(pages, and_(pages.c.id == page, is_on(connection.dialect.name)))
            .outerjoin(answers, _OF_LOG)
            .where(answers.c.attempt.is_(None), _LOGS.latency_ms.is_not(None))
        )
        found.latencies[on[page][0]] += map(str, connection.execute(left).scalars())


def _count_singly(
    connection: Connection,
    period: Period,
    by: GroupBy | None,
    names: Mapping[Any, str],
    good: Accepted,
    found: PeriodTotals,
) -> None:
    """Look at each answer on which not its score alone decides, and at those of hours that the period cuts."""
    if connection.dialect.name == "postgresql":
        # it takes the few for a third of all, and would read every table as a whole: 2.1 s in place of 0.8 at a million
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    judged = _judged(period, by, connection.dialect.name)
    rows = [
        (True, row)
        for ids in chunks(sorted(good.judged))
        for row in connection.execute(judged.where(answers.c.request_id.in_(ids)))
    ]
    if period.cut_hours():
        rows += [(False, row) for row in connection.execute(_of_cut_hours(period, by, connection.dialect.name))]
    for counted, (request, attempt, kind, score, pico, name, dataset, answer) in rows:
        for outcome in found.of(names.get(name, str(name))):
            if not counted:
                outcome.add(kind, 1, pico)
            elif good.rules[dataset].reaches(kind, score):
                outcome.accept(-1, -pico)
            if answer != attempt:
                outcome.supersede(pico)
            elif good.has(request, dataset, kind, score):
                outcome.accept(1, pico)


def _judged(period: Period, by: GroupBy | None, dialect: str) -> Select[Any]:
    """Answers on whole pages."""
    return (
        select(*_ANSWER, group_of_page(by, dialect), pages.c.dataset_id, requests.c.answer)
        .join(pages, pages.c.id == answers.c.page)
        .join(requests, requests.c.id == answers.c.request_id)
        .where(period.of_pages())
    )


def _of_cut_hours(period: Period, by: GroupBy | None, dialect: str) -> Select[Any]:
    """The answers in the period that are of hours it cuts."""
    return (
        select(*_ANSWER, group_of_log(by, dialect), _LOGS.dataset_id, requests.c.answer)
        .join(generation_logs, _OF_LOG)
        .join(requests, requests.c.id == answers.c.request_id)
        .where(period.of_logs(), period.of_cut_hours())
    )
