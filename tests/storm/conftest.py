"""Builds that are to be disturbed: a project that reports to the shared Prefect server, and processes that are ended for sure."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from storm.reconciliation import Reconciliation
from support import Project

from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

CONCURRENCY = 8

AXES = {
    "persona": ["Anxious Investor", "Confident Advisor", "First-time Saver"],
    "emotion": ["Fear", "Calm", "Hope", "Doubt"],
    "topic": ["market volatility", "retirement planning", "a first budget", "debt", "insurance"],
    "tier": ["template"],
}
"""60 cells."""


@pytest.fixture
def building(project: Project, prefect_server: str) -> Project:
    """A project whose builds report to the shared Prefect server."""
    project.environment["PREFECT_API_URL"] = prefect_server
    return project


@pytest.fixture
def start_build(project: Project) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a build against a server at an address; whatever becomes of the test, it is gone afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, address: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        where = {"ANTHROPIC_BASE_URL": address, **environment}
        started.append(project.start("build", name, "--simulate", "--json", *arguments, **where))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def serve() -> Iterator[Callable[..., SimulatorControl]]:
    """Starts simulators: ``serve(latency_ms=100)``."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **options: SimulatorControl(stack.enter_context(simulator_process(**options)))


def limits(concurrency: int = CONCURRENCY) -> dict[str, Any]:
    return {"max_requests": 100_000, "window_seconds": 60, "concurrency": concurrency}


def reconcile(data: Path, server: SimulatorControl) -> Reconciliation:
    return Reconciliation(f"sqlite:///{data / 'ledger.db'}", server)
