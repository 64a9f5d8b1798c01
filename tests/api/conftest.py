"""The API on a real server on loopback, in front of a real simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from served import running

from convoforge.api.app import make_app
from convoforge.costs.summary import CostSummary, cost_summary
from convoforge.generation.requests import default_spec
from convoforge.ledger import Ledger
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

Serve = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture(scope="session")
def simulator_url(_own_environment: None) -> Iterator[str]:
    with simulator_process(latency_ms=20) as url:
        yield url


@pytest.fixture
def settings(simulator: SimulatorControl, tmp_path: Path) -> Settings:
    return Settings(base_url=simulator.url, data_dir=tmp_path)


@pytest.fixture
def serve_app() -> Callable[[FastAPI], AbstractContextManager[httpx.Client]]:
    """Serves an application; a client comes back."""
    return running


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """Serves the API in front of the simulator; a client comes back. Keyword arguments change the spec."""

    def make(**changes: Any) -> AbstractContextManager[httpx.Client]:
        fast = {"base_delay_seconds": 0.01, "jitter_seconds": 0.0, "timeout_seconds": 5}
        spec = change_spec(
            default_spec("claude-sonnet-5-5"),
            **{"limits": {"max_requests": 10_000}, **changes, "retry": {**fast, **changes.get("retry", {})}},
        )
        return running(make_app(settings, spec=spec, simulate=True))

    return make


@pytest.fixture(scope="module")
def client(simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of one server for all tests of a file: for requests that are refused."""
    settings = Settings(base_url=simulator_url, data_dir=tmp_path_factory.mktemp("data"))
    with running(make_app(settings, simulate=True)) as client:
        yield client


@pytest.fixture
def read_costs(settings: Settings) -> Callable[[], CostSummary]:
    """Reads what the ledger has recorded."""

    def read() -> CostSummary:
        with Ledger(settings.database_url) as ledger:
            return ledger.read(cost_summary, provider="simulator")

    return read
