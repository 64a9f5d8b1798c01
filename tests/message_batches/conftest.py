"""A simulator, and runs that hand batches over to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from message_batches import made


@pytest.fixture
def start_run(simulator_url: str, tmp_path: Path) -> made.Open:
    """Opens runs on one ledger."""
    return lambda url=simulator_url, **changes: made.start_run(url, tmp_path, **changes)
