"""Both gates behind one fixture, so that one suite speaks for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

import pytest

from convoforge.gate import Gate, Limits, WindowGate

OpenGate = Callable[..., Gate]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def prefect_gate(prefect_server: str) -> OpenGate:
    """Makes gates that share one set of limits, new for each test."""
    from tasks.gate import PrefectGate

    model = f"test-{uuid4().hex[:8]}"

    def make(limits: Limits, fingerprints: Sequence[str] = ("3f2a9c",)) -> Gate:
        return PrefectGate(limits, endpoint="https://api.anthropic.com", model=model, fingerprints=fingerprints)

    return make


@pytest.fixture(params=["window", "prefect"])
def open_gate(request: pytest.FixtureRequest) -> OpenGate:
    if request.param == "prefect":
        return request.getfixturevalue("prefect_gate")  # type: ignore[no-any-return]
    return WindowGate
