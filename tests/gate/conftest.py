"""All gates behind one fixture, so that one suite speaks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
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


@pytest.fixture
def ledger_gate(tmp_path: Path) -> Iterator[OpenGate]:
    """Makes gates that share one ledger, new for each test."""
    from convoforge.ledger import Ledger
    from convoforge.ledger_rate import LedgerGate

    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:

        def make(limits: Limits, fingerprints: Sequence[str] = ("3f2a9c",)) -> Gate:
            return LedgerGate(limits, ledger=ledger, endpoint="https://api.anthropic.com", model="m", fingerprints=fingerprints)

        yield make


@pytest.fixture(params=["window", "ledger", "prefect"])
def open_gate(request: pytest.FixtureRequest) -> OpenGate:
    if request.param == "window":
        return WindowGate
    return request.getfixturevalue(f"{request.param}_gate")  # type: ignore[no-any-return]
