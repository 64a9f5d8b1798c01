"""Why requests and conversations were not accepted, read from the ledger: of a run, a dataset, or any other choice of attempts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from convoforge.dataset.acceptance import Verdict, assess
from convoforge.dataset.near_duplicates import read_neighbors, read_rule
from convoforge.dataset.unusual_cells import list_outside, list_unusual
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.requests import read_cell_draws, split_chunks
from convoforge.ledger.tables import IS_ATTEMPT_OF, IS_HELD, answers, datasets, generation_logs, requests
from convoforge.models import AnswerKind, Status
from convoforge.reasons import Incident, Reason, What, group

_LOGS = generation_logs.c
_IS_LOW = or_(answers.c.kind.not_in(("ok", "judged")), answers.c.score < datasets.c.min_score)
_KINDS: Mapping[Status, What] = {Status.NEEDS_REVISION: "needs revision", Status.DROPPED: "dropped"}


def of_run(run_id: str) -> ColumnElement[bool]:
    """The attempts of a run."""
    return _LOGS.run_id == run_id


def of_dataset(dataset_id: int) -> ColumnElement[bool]:
    """The attempts of a dataset, of all its runs."""
    return _LOGS.dataset_id == dataset_id


def has_attempts(connection: Connection, which: ColumnElement[bool]) -> bool:
    """Whether any call was made."""
    return connection.execute(select(_LOGS.attempt).where(which).limit(1)).first() is not None


def read_reasons(connection: Connection, which: ColumnElement[bool]) -> tuple[Reason, ...]:
    """What happened to the requests of some attempts, as it stands today: refused, failed, maybe billed, needs revision, dropped, retried;
    each reason with how often, an example and what to do, the most frequent first. `which` is a condition on `generation_logs`:
    `of_run`, `of_dataset`, or a period's.

    Answers are judged by the plan, threshold and number per cell that their dataset was last built or published with.
    """
    groups = group([*_read_failures(connection, which), *_read_verdicts(connection, which)])
    names = _name_draws(connection, [one.example.request_id for one in groups])
    return tuple(one.show_example(*names[one.example.request_id]) for one in groups)


def _read_failures(connection: Connection, which: ColumnElement[bool]) -> Iterator[Incident]:
    """Calls that failed, and calls whose bill is not known. The last failed call of a request says what became of the request."""
    later = generation_logs.alias()
    is_last = ~select(later.c.attempt).where(later.c.request_id == _LOGS.request_id, later.c.attempt > _LOGS.attempt).exists()
    has_failed = _LOGS.status.in_(("failed", "lost"))
    became = case(
        (and_(has_failed, is_last, requests.c.state == "failed"), "refused"),
        (and_(has_failed, is_last, requests.c.state == "pending"), "failed"),
        (has_failed, "retried"),
        else_="answered",
    )
    columns = became.label("became"), _LOGS.billing, func.coalesce(_LOGS.error, "").label("error")
    query = (
        select(*columns, func.count(), func.min(_LOGS.request_id))
        .join(requests, requests.c.id == _LOGS.request_id)
        .where(which, or_(has_failed, and_(_LOGS.billing == "maybe", _LOGS.status == "succeeded")))
        .group_by(*columns)
    )
    for what, billing, error, count, request_id in connection.execute(query):
        words = error or ("the answer says no usage or no price that is known" if what == "answered" else "no reason was kept")
        if what in ("refused", "failed") or (what == "retried" and billing != "maybe"):
            yield Incident(what, words, request_id, count)
        if billing == "maybe":
            yield Incident("maybe billed", words, request_id, count)


def _read_verdicts(connection: Connection, which: ColumnElement[bool]) -> Iterator[Incident]:
    """Held answers that are not accepted: by their kind and score alone, as there may be a hundred thousand; by the acceptance rule where
    a cell needs it, or its dataset's plan has lost cells."""
    unusual = list_unusual(connection)
    shrunk = {dataset for (dataset,) in connection.execute(select(datasets.c.id)) if list_outside(connection, dataset)}
    ids: dict[int, set[int]] = defaultdict(set)
    equal: dict[tuple[Any, ...], list[int]] = {}  # how many have these results, and the first of them
    kinds = answers.c.kind, answers.c.reason, answers.c.score, datasets.c.min_score, answers.c.results
    for dataset, cell, request_id, *results in _select_held(connection, which, _IS_LOW, columns=kinds):
        if dataset in shrunk:
            unusual[dataset].add(cell)
        if cell in unusual[dataset]:
            ids[dataset].add(request_id)
        else:
            equal.setdefault(tuple(results), [0, request_id])[0] += 1
    for (kind, reason, score, min_score, found), (count, request_id) in equal.items():
        if kind != AnswerKind.OK:
            yield Incident("dropped", f"{kind}: {reason or 'no conversation'}", request_id, count)
        else:
            yield Incident("needs revision", f"score {score} is below {min_score}", request_id, count, _list_lacks(score, found))
    for dataset, some in unusual.items():
        for chunk in split_chunks(sorted(some)):
            mine = and_(requests.c.dataset_id == dataset, requests.c.cell.in_(chunk))
            ids[dataset] |= {request_id for _, _, request_id in _select_held(connection, which, mine)}
        rejected = [
            one for one in _judge(connection, dataset, some) if one.draw.request_id in ids[dataset] and one.status in _KINDS
        ]
        lacks = _read_lacks(
            connection, [one.draw.request_id for one in rejected if one.draw.kind == "ok" and one.draw.rejection is None]
        )
        for one in rejected:
            scored = lacks.get(one.draw.request_id, ()) if one.reason.startswith("score ") else ()
            yield Incident(_KINDS[one.status], one.reason, one.draw.request_id, lacks=scored)


def _select_held(
    connection: Connection, *conditions: ColumnElement[bool], columns: Sequence[ColumnElement[Any]] = ()
) -> Iterable[Any]:
    """Dataset, cell and id of requests, by their held answer and the attempt that brought it; and more columns of these."""
    query = (
        select(requests.c.dataset_id, requests.c.cell, requests.c.id, *columns)
        .select_from(generation_logs)
        .join(answers, IS_ATTEMPT_OF)
        .join(requests, IS_HELD)
        .join(datasets, datasets.c.id == requests.c.dataset_id)
        .where(*conditions)
    )
    return connection.execute(query)


def _judge(connection: Connection, dataset: int, cells: set[str]) -> Sequence[Verdict]:
    """The verdicts on the draws of some cells, of those that are in the plan today."""
    row = connection.execute(select(datasets.c.min_score, datasets.c.spec).where(datasets.c.id == dataset)).one()
    per_cell = int(json.loads(row.spec).get("per_cell", 1)) if row.spec else 1
    within = sorted(cells - list_outside(connection, dataset))
    draws = read_cell_draws(connection, dataset, within)
    near = read_neighbors(connection, dataset, read_rule(row.spec))
    return assess(within, draws, min_score=row.min_score or 1, per_cell=per_cell, max_draws=0, near=near).rejected


def _read_lacks(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[tuple[str, str], ...]]:
    """By request: which scorers gave less than all their points, and why, the largest loss first."""
    found = {}
    query = select(requests.c.id, answers.c.score, answers.c.results).join(answers, IS_HELD)
    for chunk in split_chunks(ids):
        for request_id, score, results in connection.execute(query.where(requests.c.id.in_(chunk))):
            found[request_id] = _list_lacks(score, results)
    return found


def _list_lacks(score: int | None, results: str | None) -> tuple[tuple[str, str], ...]:
    quality = read_quality(score, results)
    losses = [
        (one.points / one.maximum, one.name, one.reason)
        for one in (quality.results if quality else ())
        if one.verdict is None and one.points is not None and one.maximum and one.points < one.maximum
    ]
    return tuple((name, why) for _, name, why in sorted(losses))


def _name_draws(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[str, str | None]]:
    """By request: its draw as a person names it, and the id of the conversation that it holds."""
    columns = (requests.c[name] for name in ("id", "persona", "emotion", "topic", "tier", "draw"))
    query = select(*columns, answers.c.conversation_id).outerjoin(answers, IS_HELD)
    return {
        row.id: (f"{row.persona} · {row.emotion} · {row.topic} · {row.tier} #{row.draw + 1}", row.conversation_id)
        for chunk in split_chunks(sorted(set(ids)))
        for row in connection.execute(query.where(requests.c.id.in_(chunk)))
    }
