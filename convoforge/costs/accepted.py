"""Which answers are accepted today, for figures over many: the rule is `dataset.acceptance.assess`, and nothing here decides otherwise.

A million answers are not read for it. An answer whose cell holds nothing unusual is accepted exactly where its score reaches the
dataset's threshold, which the database counts. Unusual are answers that repeat another one, that a filter rejects, that were reviewed or
replaced, that have no content hash, cells with more good answers than the spec wants, and cells that are no longer in the plan: those
cells are few, and `assess` judges each of their draws.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select, union

from convoforge.dataset.acceptance import assess
from convoforge.ledger.plans import read_cells, read_plan
from convoforge.ledger.requests import read_cell_draws
from convoforge.ledger.tables import IS_HELD, answers, datasets, plans, requests, reviews, runs

_IS_OK = answers.c.kind == "ok"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Of the requests in `judged`, `accepted` are those whose answer is. Of all others the score decides: `is_accepted_by_score`."""

    judged: frozenset[int]
    accepted: frozenset[int]


def is_accepted_by_score() -> ColumnElement[bool]:
    """Whether an answer reaches the threshold of its dataset; null or false where it does not, or where there is no threshold."""
    return and_(_IS_OK, answers.c.score >= datasets.c.min_score)


def read_accepted(connection: Connection) -> Accepted:
    """What is accepted of all datasets, by the threshold and number per cell that they were last built or published with."""
    unusual: dict[int, set[str]] = defaultdict(set)
    for dataset, cell in _list_unusual(connection):
        unusual[dataset].add(cell)
    judged: set[int] = set()
    accepted: set[int] = set()
    for row in connection.execute(select(datasets.c.id, datasets.c.min_score, datasets.c.spec)).all():
        per_cell = int(json.loads(row.spec).get("per_cell", 1)) if row.spec else None
        outside = _list_outside(connection, row.id)
        cells = unusual[row.id] | outside
        if row.min_score is not None and per_cell is not None:
            cells.update(_list_overfull(connection, row.id, row.min_score, per_cell))
        draws = read_cell_draws(connection, row.id, cells)
        judged.update(draw.request_id for draw in draws)
        if row.min_score is not None:
            quota = len(draws) if per_cell is None else per_cell  # all requests that belong to no plan may be accepted
            status = assess(sorted(cells - outside), draws, min_score=row.min_score, per_cell=quota, max_draws=0)
            accepted.update(draw.request_id for draw in status.accepted)
    return Accepted(frozenset(judged), frozenset(accepted))


def _list_unusual(connection: Connection) -> Iterable[tuple[int, str]]:
    """Dataset and cell of answers that share their content, were replaced, reviewed or rejected by a filter, or have no hash of their
    content."""
    before, later = answers.alias(), answers.alias()
    earlier = select(before.c.request_id).where(before.c.request_id == later.c.request_id, before.c.attempt < later.c.attempt)
    several = select(later.c.request_id).where(later.c.attempt > 1, earlier.exists())
    keys = select(answers.c.content_key).where(_IS_OK).group_by(answers.c.content_key).having(func.count() > 1)
    copied = keys.with_hint(answers, "INDEXED BY ix_answers_content", "sqlite")  # it would sort all keys, at five times the time
    replaced = and_(requests.c.id == answers.c.request_id, requests.c.answer.is_distinct_from(answers.c.attempt))
    one = select(answers.c.request_id)
    these = union(
        one.join(requests, replaced).where(answers.c.request_id.in_(several)),
        one.where(_IS_OK, answers.c.content_key.in_(copied)),
        one.where(_IS_OK, answers.c.content_key.is_(None)),
        one.where(answers.c.rejection.is_not(None)),
        select(reviews.c.request_id),
    ).subquery()
    query = select(requests.c.dataset_id, requests.c.cell).join(these, these.c.request_id == requests.c.id)
    return [(dataset, cell) for dataset, cell in connection.execute(query)]


def _list_overfull(connection: Connection, dataset: int, min_score: int, per_cell: int) -> Iterator[str]:
    """Cells of a dataset with more good answers than it wants of each."""
    # draws are numbered without holes: only a cell with so high a number can have so many
    further = select(requests.c.cell).where(requests.c.dataset_id == dataset, requests.c.draw >= per_cell)
    query = (
        select(requests.c.cell)
        .join(answers, IS_HELD)
        .where(requests.c.dataset_id == dataset, requests.c.cell.in_(further), _IS_OK, answers.c.score >= min_score)
        .group_by(requests.c.cell)
        .having(func.count() > per_cell)
    )
    yield from connection.execute(query).scalars()


def _list_outside(connection: Connection, dataset: int) -> set[str]:
    """Cells of a dataset that its plan no longer has. A dataset that has only ever had one plan has none of these, and one of which no
    plan was kept is taken as it is."""
    kept = connection.execute(select(func.count()).where(plans.c.dataset_id == dataset)).scalar_one()
    without = select(runs.c.id).where(runs.c.dataset_id == dataset, runs.c.plan_id.is_(None)).limit(1)
    if not kept or (kept == 1 and connection.execute(without).one_or_none() is None):
        return set()
    plan, cells = read_plan(connection, dataset), read_cells(connection, dataset)
    within = plan.having(cells.values()) if plan else set()
    return {key for key, values in cells.items() if values not in within}
