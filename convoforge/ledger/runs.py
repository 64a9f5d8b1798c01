"""Datasets, runs and versions in the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from convoforge.billing_terms import list_special
from convoforge.ledger.owners import list_living_owners
from convoforge.ledger.tables import datasets, generation_logs, runs, versions
from convoforge.models import Terms, Usage
from convoforge.planning.spec import DatasetSpec


def ensure_dataset(connection: Connection, name: str, provider: str, now: datetime) -> int:
    """The id of a dataset; registers it if it is new."""
    query = select(datasets.c.id).where(datasets.c.name == name, datasets.c.provider == provider)
    found = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return int(found)
    try:
        with connection.begin_nested():
            new = insert(datasets).returning(datasets.c.id)
            return int(connection.execute(new, {"name": name, "provider": provider, "created_at": now}).scalar_one())
    except IntegrityError:  # another process was first
        return int(connection.execute(query).scalar_one())


def read_pseudonym_key(connection: Connection, dataset_id: int) -> bytes:
    """What pseudonyms of a dataset are hashed with: 32 random bytes, drawn when it was registered, which nothing outside the ledger
    knows."""
    return bytes(connection.execute(select(datasets.c.pseudonym_key).where(datasets.c.id == dataset_id)).scalar_one())


def find_dataset(connection: Connection, name: str, provider: str) -> Row[Any] | None:
    """The dataset's row; None if it is not in the ledger."""
    query = select(datasets).where(datasets.c.name == name, datasets.c.provider == provider)
    return connection.execute(query).one_or_none()


def list_datasets(connection: Connection) -> list[tuple[str, str]]:
    """(name, provider) of every dataset."""
    return [(row.name, row.provider) for row in connection.execute(select(datasets).order_by(datasets.c.name))]


def keep_spec(connection: Connection, dataset: int, spec: DatasetSpec) -> None:
    """Store the spec that a dataset is built with."""
    connection.execute(
        update(datasets).where(datasets.c.id == dataset).values(spec=spec.text(), min_score=spec.quality.min_score)
    )


def begin_run(
    connection: Connection, run_id: str, dataset: int, spec: DatasetSpec, owner: str, flow_run_id: str | None, now: datetime
) -> None:
    """Record the start of a run. One that Prefect resumes or retries reopens its row."""
    if connection.execute(select(runs.c.id).where(runs.c.id == run_id)).one_or_none():
        again = {"state": "running", "owner": owner, "finished_at": None, "message": None}
        connection.execute(update(runs).where(runs.c.id == run_id).values(again))
        return
    values = {
        "id": run_id,
        "dataset_id": dataset,
        "owner": owner,
        "flow_run_id": flow_run_id,
        "spec": spec.text(),
        "model": spec.model,
        "started_at": now,
        "state": "running",
    }
    connection.execute(insert(runs), values)


def hold_run(
    connection: Connection, run_id: str, flow_run_id: str, spec: DatasetSpec, provider: str, message: str, now: datetime
) -> None:
    """Record that a run waits for approval before it begins; `begin_run` reopens its row. A dataset has one such run, so others that are
    still recorded were ended in Prefect, where no process of ours writes it down."""
    dataset = ensure_dataset(connection, spec.name, provider, now)
    others = update(runs).where(runs.c.dataset_id == dataset, runs.c.state == "waiting", runs.c.id != run_id)
    connection.execute(others.values(state="partial", message="ended in Prefect before anybody approved it", finished_at=now))
    values = {"spec": spec.text(), "model": spec.model, "state": "waiting", "message": message, "finished_at": None}
    if connection.execute(update(runs).where(runs.c.id == run_id).values(values)).rowcount == 0:
        new = {"id": run_id, "dataset_id": dataset, "flow_run_id": flow_run_id, "started_at": now, **values}
        connection.execute(insert(runs), new)


def keep_sources(connection: Connection, run_id: str, endpoint: str, sources: Mapping[str, str]) -> None:
    """Store what a process checks before it joins a run: the URL of its requests, and the hashes of its prompts' files."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(endpoint=endpoint, sources=json.dumps(sources)))


def keep_report(connection: Connection, run_id: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Add to what is known of a run that goes on, without a change of what is known already. Returns all of it."""
    known = connection.execute(select(runs.c.report).where(runs.c.id == run_id)).scalar_one()
    merged = {**report, **(json.loads(known) if known else {})}
    connection.execute(update(runs).where(runs.c.id == run_id).values(report=json.dumps(merged, default=str)))
    return merged


def note_run(connection: Connection, run_id: str, note: str) -> None:
    """Store what a run's process says of how far it is; only the last is kept."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(note=note))


def close_run(connection: Connection, run_id: str, state: str, message: str, report: Mapping[str, Any], now: datetime) -> None:
    """Record the end of a run."""
    values = {"state": state, "message": message, "report": json.dumps(report, default=str), "finished_at": now}
    connection.execute(update(runs).where(runs.c.id == run_id).values(values))


def stop_run(connection: Connection, run_id: str, reason: str) -> None:
    """Ask every process that works on a run to stop."""
    update_ = update(runs).where(runs.c.id == run_id, runs.c.state == "running")
    connection.execute(update_.values(state="stopping", message=reason))


def read_stop(connection: Connection, run_id: str, now: datetime) -> str | None:
    """The reason why no more work may begin for a run; None while it continues."""
    row = connection.execute(select(runs.c.state, runs.c.message, runs.c.owner).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        return "it is not in this ledger"
    if row.state != "running":
        return str(row.message or row.state)
    return None if list_living_owners(connection, [row.owner], now) else "the process that began it is gone"


def read_run_usage(connection: Connection, run_id: str) -> dict[str, Usage]:
    """The tokens that a run was billed for, by their price."""
    logs = generation_logs.c
    columns = [getattr(logs, name) for name in Usage.__dataclass_fields__]
    query = select(logs.price, *map(func.sum, columns)).where(logs.run_id == run_id, logs.cost_pico > 0).group_by(logs.price)
    return {row[0]: Usage(*map(int, row[1:])) for row in connection.execute(query)}


def list_answered_by(connection: Connection, run_id: str) -> set[int]:
    """The requests that a run has answered, in all its processes."""
    logs = generation_logs.c
    return set(connection.execute(select(logs.request_id).where(logs.run_id == run_id, logs.status == "succeeded")).scalars())


def read_runs(connection: Connection, *, run: str | None = None, limit: int = 20) -> list[Row[Any]]:
    """The newest runs with their dataset, or the one whose id begins with `run`."""
    query = (
        select(runs, datasets.c.name.label("dataset"), datasets.c.provider)
        .join(datasets, datasets.c.id == runs.c.dataset_id)
        .order_by(runs.c.started_at.desc())
        .limit(limit)
    )
    if run is not None:
        query = query.where(runs.c.id.startswith(run, autoescape=True))
    return list(connection.execute(query))


def reserve_version(connection: Connection, dataset: int, run_id: str | None, now: datetime) -> int:
    """Reserve the next version number of a dataset. A number is never given twice, even if publishing fails."""
    connection.execute(select(datasets.c.id).where(datasets.c.id == dataset).with_for_update())
    last = connection.execute(select(func.max(versions.c.number)).where(versions.c.dataset_id == dataset)).scalar_one()
    number = (last or 0) + 1
    connection.execute(insert(versions), {"dataset_id": dataset, "number": number, "run_id": run_id, "reserved_at": now})
    return number


def keep_version(
    connection: Connection, dataset: int, number: int, path: str, sha256: str, rows: int, run_id: str | None, now: datetime
) -> None:
    """Record that a version is published. The first record stays: a version never changes."""
    found = connection.execute(
        select(versions.c.published_at).where(versions.c.dataset_id == dataset, versions.c.number == number)
    ).one_or_none()
    values = {"path": path, "sha256": sha256, "rows": rows, "published_at": now}
    if found is None:  # the files are older than this ledger
        ids = {"dataset_id": dataset, "number": number, "run_id": run_id, "reserved_at": now}
        connection.execute(insert(versions), {**ids, **values})
    elif found.published_at is None:
        connection.execute(update(versions).where(versions.c.dataset_id == dataset, versions.c.number == number).values(values))


@dataclass(frozen=True, slots=True)
class Remarks:
    """Unusual answers of a run: the number without plausible usage, the numbers by other model, and the numbers by billing terms
    that are not standard."""

    without_usage: int
    other_models: Mapping[str, int]
    terms: Mapping[Terms, int] = field(default_factory=dict)


def read_remarks(connection: Connection, run_id: str, model: str) -> Remarks:
    """The remarks on a run that requested `model`."""
    logs = generation_logs.c
    ended = select(func.count()).where(logs.run_id == run_id, logs.status == "succeeded")
    generated = logs.purpose == "conversation"  # a judge is another model by intent
    without = connection.execute(ended.where(logs.usage_known.is_(False))).scalar_one()
    others = (
        select(logs.model, func.count())
        .where(logs.run_id == run_id, logs.status == "succeeded", logs.model != model, generated)
        .group_by(logs.model)
    )
    words = logs.inference_geo, logs.service_tier, logs.speed
    terms = select(*words, func.count()).where(logs.run_id == run_id, logs.status == "succeeded").group_by(*words)
    return Remarks(
        int(without),
        {row[0]: row[1] for row in connection.execute(others)},
        {found: row[3] for row in connection.execute(terms) if any(list_special(found := Terms(*row[:3])))},
    )
