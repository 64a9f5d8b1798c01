"""Whatever the Claude API does, a caller gets a response that the description of the route has, and never a 500."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import pytest

from convoforge.api.bodies import Failure, Generated
from convoforge.generation import circuit_breaker
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.faults import BATCHED, BROKEN, ERRORS, KINDS, LINES, OK, REFUSALS

GENERATE = "/api/conversations/generate"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
ASKED = [kind for kind in KINDS if kind not in (*BATCHED, *LINES)]


def expect(kind: str) -> set[int]:
    """The statuses that a fault may have: of an odd answer, it depends on how much of it can be read."""
    if kind in (OK, "429", "529"):  # an overload is waited out
        return {201}
    return {502} if kind in (*ERRORS, *REFUSALS, *BROKEN) else {201, 422, 502}


@pytest.mark.long
def test_every_fault_of_the_api_has_its_response(
    serve: Callable[..., AbstractContextManager[httpx.Client]], simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_SECONDS", 0.0)
    retry = {"timeout_seconds": 0.5, "base_delay_seconds": 0.0, "jitter_seconds": 0.0}
    with serve(retry=retry) as client:
        documented = client.get("/openapi.json").json()["paths"][GENERATE]["post"]["responses"]
        seen: dict[str, int] = {}
        for kind in ASKED:
            simulator.reset()
            simulator.script(*[kind] * 3)
            response = client.post(GENERATE, json=GOOD)
            seen[kind] = response.status_code
            (Generated if response.status_code == 201 else Failure).model_validate_json(response.content, strict=False)
            assert str(response.status_code) in documented, kind
        assert {kind: status for kind, status in seen.items() if status not in expect(kind)} == {}
        simulator.reset()
        assert client.post(GENERATE, json=GOOD).status_code == 201  # none of them has done lasting harm
