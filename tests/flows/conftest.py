"""Builds that report to the shared Prefect server, and that server as an operator sees it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import Flow
from prefect.client.schemas.objects import State
from support import Project
from watching import Operator, wait_for

from convoforge.flows.build_dataset import build_dataset
from convoforge.simulator.client import SimulatorControl


@pytest.fixture(scope="session")
def operator(prefect_server: str) -> Iterator[Operator]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield Operator(client)


@pytest.fixture
def building(project: Project, prefect_server: str) -> Project:
    """A project whose builds report to the shared Prefect server."""
    project.environment["PREFECT_API_URL"] = prefect_server
    return project


@pytest.fixture
def start_build(building: Project, slow_simulator: SimulatorControl) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a build against the slow simulator, and comes back when calls are in flight."""
    started = []

    def start(name: str, *arguments: str, **changes: Any) -> subprocess.Popen[str]:
        building.spec(name, **{"per_cell": 8, "limits": {"max_requests": 100_000, "concurrency": 2}, **changes})
        process = building.start("build", name, "--simulate", "--json", *arguments, ANTHROPIC_BASE_URL=slow_simulator.url)
        started.append(process)
        wait_for(lambda: slow_simulator.usage()["requests"] >= 2 or process.poll() is not None, "calls in flight")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_build(run_flow: Callable[..., State[Any]]) -> Callable[..., State[Any]]:
    """Runs a build to its end: ``run_build(spec="demo", simulate=True)``; everything but the spec is an option."""

    def run(spec: str, **options: Any) -> State[Any]:
        return run_flow(build_dataset, spec=spec, options=options)

    return run


@pytest.fixture
def run_flow(building: Project, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch) -> Callable[..., State[Any]]:
    """Runs a flow to its end in this process, with the project's data and the simulator, and brings its final state."""
    for name, value in {**building.environment, "ANTHROPIC_BASE_URL": simulator.url}.items():
        monkeypatch.setenv(name, value)

    def run(flow: Callable[..., Any], /, **parameters: Any) -> State[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "unclosed", ResourceWarning
            )  # Prefect leaves a socket of each flow run to the collector
            state: State[Any] = asyncio.run(
                flow(**parameters, return_state=True) if isinstance(flow, Flow) else flow(**parameters)
            )
            gc.collect()
        return state

    return run
