"""A simulator, and runs that hand batches over to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from message_batches import made

from convoforge.simulator.client import SimulatorControl as Simulator
from convoforge.simulator.launch import simulator_process


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def simulator_url(_own_environment: None) -> Iterator[str]:
    with simulator_process() as url:
        yield url


@pytest.fixture
def simulator(simulator_url: str) -> Simulator:
    control = Simulator(simulator_url)
    control.reset()
    return control


@pytest.fixture
def start_run(simulator_url: str, tmp_path: Path) -> made.Open:
    """Opens runs on one ledger."""
    return lambda url=simulator_url, **changes: made.start_run(url, tmp_path, **changes)
