"""What the API has told of its models, kept so that a plan knows it without asking."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, select

from convoforge.ledger.connect import upsert
from convoforge.ledger.tables import models
from convoforge.planning.model_facts import ModelFacts, merge_facts, snapshot_facts

KEPT = timedelta(days=1)
"""How long what was told is gone by: the date of a retirement may be moved any day."""


def keep_facts(connection: Connection, provider: str, model: str, told: Mapping[str, Any], now: datetime) -> None:
    """Write down what the API has told of a model."""
    row = {"provider": provider, "model": model, "told": orjson.dumps(told).decode(), "asked_at": now}
    statement = upsert(connection.dialect.name, models)
    changed = {name: statement.excluded[name] for name in ("told", "asked_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["provider", "model"], set_=changed), row)


def read_facts(connection: Connection, provider: str, model: str, now: datetime) -> ModelFacts:
    """What is known of a model: what the API told within the last day, else the package's snapshot; and where that knows nothing either,
    what the API told at any time."""
    snapshot = snapshot_facts(model)
    row = connection.execute(select(models).where(models.c.provider == provider, models.c.model == model)).first()
    if row is None or (snapshot.known and row.asked_at < now - KEPT):
        return snapshot
    return merge_facts(snapshot, orjson.loads(row.told))
