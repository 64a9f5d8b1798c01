"""A ledger on either database, with one dataset and one owner in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from convoforge.ledger import Ledger
from convoforge.ledger.owners import Owner, make_owner, register
from convoforge.ledger.runs import ensure_dataset

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with Ledger(database_url) as opened:
        yield opened


@pytest.fixture
def dataset(ledger: Ledger) -> int:
    return ledger.write(ensure_dataset, "advice", "anthropic", NOW)


@pytest.fixture
def owner(ledger: Ledger) -> Owner:
    made = make_owner()
    ledger.write(register, made, NOW)
    return made
