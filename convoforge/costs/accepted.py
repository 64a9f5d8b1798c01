"""Which answers are accepted today, for figures over many: the rule is `dataset.acceptance.assess`, and nothing here decides otherwise.

A million answers are not read for it. An answer whose cell holds nothing unusual is accepted exactly where its score reaches the
dataset's threshold, which the database counts. Unusual are answers that repeat or resemble another one, that a filter rejects, that were
reviewed or replaced, that have no content hash, cells with more good answers than the spec wants, and cells that are no longer in the
plan: those cells are few, and `assess` judges each of their draws.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from convoforge.dataset.acceptance import assess
from convoforge.dataset.near_duplicates import read_neighbors, read_rule
from convoforge.dataset.unusual_cells import list_outside, list_unusual
from convoforge.ledger.requests import read_cell_draws
from convoforge.ledger.tables import IS_HELD, answers, datasets, requests

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
    unusual = list_unusual(connection)
    judged: set[int] = set()
    accepted: set[int] = set()
    for row in connection.execute(select(datasets.c.id, datasets.c.min_score, datasets.c.spec)).all():
        per_cell = int(json.loads(row.spec).get("per_cell", 1)) if row.spec else None
        outside = list_outside(connection, row.id)
        cells = unusual[row.id] | outside
        if row.min_score is not None and per_cell is not None:
            cells.update(_list_overfull(connection, row.id, row.min_score, per_cell))
        draws = read_cell_draws(connection, row.id, cells)
        judged.update(draw.request_id for draw in draws)
        if row.min_score is not None:
            quota = len(draws) if per_cell is None else per_cell  # all requests that belong to no plan may be accepted
            near = read_neighbors(connection, row.id, read_rule(row.spec))
            status = assess(sorted(cells - outside), draws, min_score=row.min_score, per_cell=quota, max_draws=0, near=near)
            accepted.update(draw.request_id for draw in status.accepted)
    return Accepted(frozenset(judged), frozenset(accepted))


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
