"""Which cells of the ledger need the acceptance rule, and cannot be judged by the scores of their answers alone."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, and_, func, select, union

from convoforge.ledger.attempts import CONTENT_KEY
from convoforge.ledger.plans import read_cells, read_plan
from convoforge.ledger.tables import answers, near_pairs, plans, requests, reviews, runs

_IS_OK = answers.c.kind == "ok"


def list_unusual(connection: Connection) -> dict[int, set[str]]:
    """By dataset, the cells of answers that share their content, also with an edited one, resemble others, were replaced, reviewed or
    rejected by a filter, or have no hash of their content."""
    before, later = answers.alias(), answers.alias()
    earlier = select(before.c.request_id).where(before.c.request_id == later.c.request_id, before.c.attempt < later.c.attempt)
    several = select(later.c.request_id).where(later.c.attempt > 1, earlier.exists())
    keys = select(answers.c.content_key).where(_IS_OK).group_by(answers.c.content_key).having(func.count() > 1)
    copied = keys.with_hint(answers, "INDEXED BY ix_answers_content", "sqlite")  # it would sort all keys, at five times the time
    replaced = and_(requests.c.id == answers.c.request_id, requests.c.answer.is_distinct_from(answers.c.attempt))
    edited = select(func.substr(reviews.c.content_hash, 1, CONTENT_KEY)).where(reviews.c.content_hash.is_not(None))
    one = select(answers.c.request_id)
    these = union(
        one.join(requests, replaced).where(answers.c.request_id.in_(several)),
        one.where(_IS_OK, answers.c.content_key.in_(copied)),
        one.where(_IS_OK, answers.c.content_key.is_(None)),
        one.where(answers.c.rejection.is_not(None)),
        select(reviews.c.request_id),
        one.where(_IS_OK, answers.c.content_key.in_(edited)),
        select(near_pairs.c.request_id),
        select(near_pairs.c.other_id),
    ).subquery()
    query = select(requests.c.dataset_id, requests.c.cell).join(these, these.c.request_id == requests.c.id)
    found: dict[int, set[str]] = defaultdict(set)
    for dataset, cell in connection.execute(query):
        found[dataset].add(cell)
    return found


def list_outside(connection: Connection, dataset: int) -> set[str]:
    """Cells of a dataset that its plan no longer has. A dataset that has only ever had one plan has none of these, and one of which no
    plan was kept is taken as it is."""
    kept = connection.execute(select(func.count()).where(plans.c.dataset_id == dataset)).scalar_one()
    without = select(runs.c.id).where(runs.c.dataset_id == dataset, runs.c.plan_id.is_(None)).limit(1)
    if not kept or (kept == 1 and connection.execute(without).one_or_none() is None):
        return set()
    plan, cells = read_plan(connection, dataset), read_cells(connection, dataset)
    within = plan.having(cells.values()) if plan else set()
    return {key for key, values in cells.items() if values not in within}
