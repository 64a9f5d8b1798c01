"""What came of paid attempts: conversations, those of them accepted today, what was dropped or replaced; and how long they took.

Accepted is computed, never stored: thresholds, reviews and duplicates change it. A million answers are counted by (page, kind, score) in
one index, as if the score decided on each alone. Those on which it does not are few, and looked at one by one: answers that share
their content, that were reviewed or replaced, or that lie in an hour that the period cuts. So the count is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, and_, cast, func, select, union

from convoforge.ledger.costs_pages import is_on
from convoforge.ledger.costs_period import GroupBy, Period, group_names, group_of_log, group_of_page
from convoforge.ledger.tables import answers, datasets, generation_logs, pages, requests, reviews

_LOGS = generation_logs.c
_IS_OK = answers.c.kind == "ok"
_ANSWER = [answers.c[name] for name in ("request_id", "attempt", "kind", "score", "content_hash", "paid_pico")]
_OF_LOG = and_(_LOGS.request_id == answers.c.request_id, _LOGS.attempt == answers.c.attempt)


@dataclass(slots=True)
class Outcome:
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
class Outcomes:
    """What came of a period's attempts, by group, and of all of them. `latencies` are by group, too: the milliseconds that successful
    calls took, written one after the other with commas between, in several texts."""

    total: Outcome = field(default_factory=Outcome)
    groups: dict[str, Outcome] = field(default_factory=lambda: defaultdict(Outcome))
    latencies: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def of(self, group: str) -> tuple[Outcome, Outcome]:
        """All that an attempt of a group counts in."""
        return self.total, self.groups[group]


def read_outcomes(connection: Connection, period: Period, by: GroupBy | None) -> Outcomes:
    """What came of a period's attempts; without `by` they are one group, called by the empty text."""
    found = Outcomes()
    thresholds = {row.id: row.min_score for row in connection.execute(select(datasets.c.id, datasets.c.min_score))}
    names = group_names(connection, by)
    _count_pages(connection, period, by, names, thresholds, found)
    _count_singly(connection, period, by, names, thresholds, found)
    if period.cut_hours():
        cut = select(group_of_log(by, connection.dialect.name), _LOGS.latency_ms).where(
            period.of_logs(), period.of_cut_hours(), _LOGS.status == "succeeded", _LOGS.latency_ms.is_not(None)
        )
        for group, milliseconds in connection.execute(cut):
            found.latencies[names.get(group, str(group))].append(str(milliseconds))
    return found


def _reaches(score: int | None, threshold: int | None) -> bool:
    return score is not None and threshold is not None and score >= threshold


def _count_pages(
    connection: Connection,
    period: Period,
    by: GroupBy | None,
    names: Mapping[Any, str],
    thresholds: Mapping[int, int | None],
    found: Outcomes,
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
            if kind == "ok" and _reaches(score, thresholds.get(dataset)):
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
    thresholds: Mapping[int, int | None],
    found: Outcomes,
) -> None:
    """Look at each answer on which not its score alone decides, and at those of hours that the period cuts."""
    if connection.dialect.name == "postgresql":
        # it takes the few for a third of all, and would read every table as a whole: 2.1 s in place of 0.8 at a million
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    rows = [*connection.execute(_exceptions(period, by, connection.dialect.name))]
    counted = len(rows)  # with their pages
    if period.cut_hours():
        rows += connection.execute(_of_cut_hours(period, by, connection.dialect.name))
    accepted: tuple[set[tuple[int, str]], defaultdict[str, set[tuple[int, str]]]] = set(), defaultdict(set)
    # of those that are alike the first is accepted
    for place in sorted(range(len(rows)), key=lambda place: rows[place][:2]):
        _, attempt, kind, score, content, pico, name, dataset, answer, decision = rows[place]
        group = names.get(name, str(name))
        by_score = kind == "ok" and _reaches(score, thresholds.get(dataset))
        held = answer == attempt
        good = held and kind == "ok" and (by_score if decision is None else decision == "accept")
        for outcome, seen in zip(found.of(group), (accepted[0], accepted[1][group]), strict=True):
            if place >= counted:
                outcome.add(kind, 1, pico)
            elif by_score:
                outcome.accept(-1, -pico)
            if not held:
                outcome.supersede(pico)
            elif good and content is not None and (dataset, content) not in seen:
                seen.add((dataset, content))
                outcome.accept(1, pico)


def _exceptions(period: Period, by: GroupBy | None, dialect: str) -> Select[Any]:
    """The answers on whole pages that share their content, were replaced, or were reviewed."""
    before, later = answers.alias(), answers.alias()
    earlier = select(before.c.request_id).where(before.c.request_id == later.c.request_id, before.c.attempt < later.c.attempt)
    several = select(later.c.request_id).where(later.c.attempt > 1, earlier.exists())
    copied = select(answers.c.content_key).where(_IS_OK).group_by(answers.c.content_key).having(func.count() > 1)
    replaced = and_(requests.c.id == answers.c.request_id, requests.c.answer.is_distinct_from(answers.c.attempt))
    reviewed = and_(reviews.c.request_id == answers.c.request_id, reviews.c.attempt == answers.c.attempt)
    answer = select(*_ANSWER, answers.c.page)
    these = union(
        answer.join(requests, replaced).where(answers.c.request_id.in_(several)),
        answer.where(_IS_OK, answers.c.content_key.in_(copied)),
        answer.where(_IS_OK, answers.c.content_key.is_(None)),
        answer.join(reviews, reviewed),
    ).subquery()
    return (
        select(
            *(these.c[column.name] for column in _ANSWER),
            group_of_page(by, dialect),
            pages.c.dataset_id,
            requests.c.answer,
            _decision(these.c),
        )
        .join(pages, pages.c.id == these.c.page)
        .join(requests, requests.c.id == these.c.request_id)
        .where(period.of_pages())
    )


def _of_cut_hours(period: Period, by: GroupBy | None, dialect: str) -> Select[Any]:
    """The answers in the period that are of hours it cuts."""
    return (
        select(*_ANSWER, group_of_log(by, dialect), _LOGS.dataset_id, requests.c.answer, _decision(answers.c))
        .join(generation_logs, _OF_LOG)
        .join(requests, requests.c.id == answers.c.request_id)
        .where(period.of_logs(), period.of_cut_hours())
    )


def _decision(answer: Any) -> ColumnElement[Any]:
    """The last word of a review."""
    return (
        select(reviews.c.decision)
        .where(reviews.c.request_id == answer.request_id, reviews.c.attempt == answer.attempt)
        .order_by(reviews.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
