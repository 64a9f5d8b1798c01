"""Builds that fail before they begin (a wrong key, port or template): kept as failed runs, so that `convoforge status` shows them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, update

from convoforge.errors import ConvoforgeError
from convoforge.ledger import Ledger
from convoforge.ledger.runs import ensure_dataset
from convoforge.ledger.tables import runs
from convoforge.models import Provider
from convoforge.planning.spec import DatasetSpec


@contextmanager
def keep_failed_start(database_url: str, spec: DatasetSpec, provider: Provider, run_id: str | None = None) -> Iterator[None]:
    """Write down a build that ends in one of our errors without a run in the ledger; the error goes on. Without `run_id` a run of its own
    is meant. A ledger that cannot be written changes nothing."""
    began = datetime.now(UTC)
    try:
        yield
    except ConvoforgeError as error:
        with suppress(ConvoforgeError, OSError), Ledger(database_url) as ledger:
            ledger.write(_add_failed_run, run_id or uuid.uuid4().hex, spec, provider, " ".join(str(error).split()), began)
        raise


def _add_failed_run(
    connection: Connection, run_id: str, spec: DatasetSpec, provider: Provider, message: str, began: datetime
) -> None:
    if (known := connection.execute(select(runs.c.state).where(runs.c.id == run_id)).scalar_one_or_none()) is not None:
        if known == "waiting":  # it was approved, and fails as it begins
            end = {"state": "failed", "message": message, "finished_at": datetime.now(UTC)}
            connection.execute(update(runs).where(runs.c.id == run_id).values(end))
        return
    values = {
        "id": run_id,
        "dataset_id": ensure_dataset(connection, spec.name, provider, began),
        "spec": spec.text(),
        "model": spec.model,
        "started_at": began,
        "finished_at": datetime.now(UTC),
        "state": "failed",
        "message": message,
    }
    connection.execute(insert(runs), values)
