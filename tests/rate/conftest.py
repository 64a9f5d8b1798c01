"""All limiters behind one fixture, so that one suite speaks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from window_limiter import WindowRateLimiter

from convoforge.rate import Limits
from convoforge.rate.limiter import RateLimiter

OpenLimiter = Callable[..., RateLimiter]


@pytest.fixture
def prefect_limiter(prefect_server: str) -> OpenLimiter:
    """Makes limiters that share one set of limits, new for each test."""
    from convoforge.orchestration.rate_limiter import PrefectRateLimiter

    model = f"test-{uuid4().hex[:8]}"

    def make(limits: Limits, fingerprints: Sequence[str] = ("3f2a9c",)) -> RateLimiter:
        return PrefectRateLimiter(limits, endpoint="https://api.anthropic.com", model=model, fingerprints=fingerprints)

    return make


@pytest.fixture
def ledger_limiter(tmp_path: Path) -> Iterator[OpenLimiter]:
    """Makes limiters that share one ledger, new for each test."""
    from convoforge.ledger import Ledger
    from convoforge.ledger.rate_limiter import LedgerRateLimiter

    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:

        def make(limits: Limits, fingerprints: Sequence[str] = ("3f2a9c",)) -> RateLimiter:
            return LedgerRateLimiter(
                limits, ledger=ledger, endpoint="https://api.anthropic.com", model="m", fingerprints=fingerprints
            )

        yield make


@pytest.fixture(params=["window", "ledger", "prefect"])
def open_limiter(request: pytest.FixtureRequest) -> OpenLimiter:
    if request.param == "window":
        return WindowRateLimiter
    return request.getfixturevalue(f"{request.param}_limiter")  # type: ignore[no-any-return]
