"""Builds as real processes against a real simulator and a real Prefect server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from convoforge.simulator.launch import simulator_process


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its control endpoints."""

    url: str

    def script(self, *faults: Any, match: str | None = None) -> None:
        """Answer the next requests (that hold `match`) like this, one after the other."""
        body = json.dumps({"faults": list(faults), "match": match}).encode()
        request = urllib.request.Request(f"{self.url}/_simulator/script", body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def books(self, *, requests: bool = False) -> dict[str, Any]:
        """What it has billed and counted."""
        with urllib.request.urlopen(f"{self.url}/_simulator/books{'?requests=1' if requests else ''}", timeout=10) as response:
            found: dict[str, Any] = json.load(response)
            return found


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulator without latency."""
    with simulator_process() as url:
        yield Simulator(url)


@pytest.fixture
def slow_simulator() -> Iterator[Simulator]:
    """A simulator that takes a while for each answer."""
    with simulator_process(latency_ms=400) as url:
        yield Simulator(url)
