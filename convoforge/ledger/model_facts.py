"""The API's facts about its models, stored so that a plan needs no call."""

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
"""Time for which the API's facts take precedence over the snapshot's: a retirement date may change any day."""


def keep_facts(connection: Connection, provider: str, model: str, facts: Mapping[str, Any], now: datetime) -> None:
    """Store the API's facts about a model."""
    row = {"provider": provider, "model": model, "facts": orjson.dumps(facts).decode(), "asked_at": now}
    statement = upsert(connection.dialect.name, models)
    changed = {name: statement.excluded[name] for name in ("facts", "asked_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["provider", "model"], set_=changed), row)


def read_facts(connection: Connection, provider: str, model: str, now: datetime) -> ModelFacts:
    """The known facts about a model: the API's from the last day, else the package's snapshot; if that does not know the model,
    the API's of any age."""
    snapshot = snapshot_facts(model)
    row = connection.execute(select(models).where(models.c.provider == provider, models.c.model == model)).first()
    if row is None or (snapshot.known and row.asked_at < now - KEPT):
        return snapshot
    return merge_facts(snapshot, orjson.loads(row.facts))
