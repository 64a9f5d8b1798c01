"""Why requests and conversations were not accepted, read from the ledger: of a run, a dataset, or any other choice of attempts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from convoforge.dataset.acceptance import Verdict, assess
from convoforge.dataset.unusual_cells import list_outside, list_unusual
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.requests import read_cell_draws, split_chunks
from convoforge.ledger.tables import IS_ATTEMPT_OF, IS_HELD, answers, datasets, generation_logs, requests
from convoforge.models import Status
from convoforge.reasons import Incident, Reason, What, group

_LOGS = generation_logs.c
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
    """Held answers that are not accepted."""
    cells: dict[int, set[str]] = defaultdict(set)
    ids: dict[int, set[int]] = defaultdict(set)
    unusual: dict[int, set[str]] = defaultdict(set)
    for dataset, cell in list_unusual(connection):
        unusual[dataset].add(cell)
    low = or_(answers.c.kind != "ok", answers.c.score < datasets.c.min_score)
    for dataset, cell, request_id in _select_held(connection, which, low):
        cells[dataset].add(cell)
        ids[dataset].add(request_id)
    for dataset, some in unusual.items():
        for chunk in split_chunks(sorted(some)):
            for _, _, request_id in _select_held(
                connection, and_(which, requests.c.dataset_id == dataset), requests.c.cell.in_(chunk)
            ):
                ids[dataset].add(request_id)
    for dataset, own in ids.items():
        verdicts = _judge(connection, dataset, cells[dataset] | unusual[dataset])
        rejected = [one for one in verdicts if one.draw.request_id in own and one.status in _KINDS]
        lacks = _read_lacks(
            connection, [one.draw.request_id for one in rejected if one.draw.kind == "ok" and one.draw.rejection is None]
        )
        for one in rejected:
            scored = lacks.get(one.draw.request_id, ()) if one.reason.startswith("score ") else ()
            yield Incident(_KINDS[one.status], one.reason, one.draw.request_id, lacks=scored)


def _select_held(connection: Connection, *conditions: ColumnElement[bool]) -> list[tuple[int, str, int]]:
    """Dataset, cell and id of requests, by their held answer and the attempt that brought it."""
    query = (
        select(requests.c.dataset_id, requests.c.cell, requests.c.id)
        .select_from(generation_logs)
        .join(answers, IS_ATTEMPT_OF)
        .join(requests, IS_HELD)
        .join(datasets, datasets.c.id == requests.c.dataset_id)
        .where(*conditions)
    )
    return [(dataset, cell, request_id) for dataset, cell, request_id in connection.execute(query)]


def _judge(connection: Connection, dataset: int, cells: set[str]) -> Sequence[Verdict]:
    """The verdicts on the draws of some cells, of those that are in the plan today."""
    row = connection.execute(select(datasets.c.min_score, datasets.c.spec).where(datasets.c.id == dataset)).one()
    per_cell = int(json.loads(row.spec).get("per_cell", 1)) if row.spec else 1
    within = sorted(cells - list_outside(connection, dataset))
    draws = read_cell_draws(connection, dataset, within)
    return assess(within, draws, min_score=row.min_score or 1, per_cell=per_cell, max_draws=0).rejected


def _read_lacks(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[tuple[str, str], ...]]:
    """By request: which scorers gave less than all their points, and why, the largest loss first."""
    found = {}
    query = select(requests.c.id, answers.c.score, answers.c.results).join(answers, IS_HELD)
    for chunk in split_chunks(ids):
        for request_id, score, results in connection.execute(query.where(requests.c.id.in_(chunk))):
            quality = read_quality(score, results)
            losses = [
                (one.points / one.maximum, one.name, one.reason)
                for one in (quality.results if quality else ())
                if one.points is not None and one.maximum and one.points < one.maximum
            ]
            found[request_id] = tuple((name, why) for _, name, why in sorted(losses))
    return found


def _name_draws(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[str, str | None]]:
    """By request: its draw as a person names it, and the id of the conversation that it holds."""
    columns = (requests.c[name] for name in ("id", "persona", "emotion", "topic", "tier", "draw"))
    query = select(*columns, answers.c.conversation_id).outerjoin(answers, IS_HELD)
    return {
        row.id: (f"{row.persona} · {row.emotion} · {row.topic} · {row.tier} #{row.draw + 1}", row.conversation_id)
        for chunk in split_chunks(sorted(set(ids)))
        for row in connection.execute(query.where(requests.c.id.in_(chunk)))
    }
