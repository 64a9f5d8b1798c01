"""What makes the service unable to work makes it so for a while only: it says so, tries again, and is well again by itself."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from convoforge.api.app import make_app
from convoforge.generation import circuit_breaker
from convoforge.generation.requests import default_spec
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl

GENERATE = "/api/conversations/generate"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
Serve = Callable[..., AbstractContextManager[httpx.Client]]
ServeApp = Callable[[FastAPI], AbstractContextManager[httpx.Client]]


def poll(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_SECONDS", 0.5)


@pytest.mark.parametrize("fault", ["401", "402", "403"])
def test_one_error_that_no_request_survives_stops_all_for_a_while_only(
    serve: Serve, simulator: SimulatorControl, short_pause: None, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    simulator.script(fault)
    with serve() as client:
        assert client.get("/healthz").json() == {"status": "ok", "model": "claude-sonnet-5-5"}
        first = client.post(GENERATE, json=GOOD)
        assert (first.status_code, first.json()["error"]["details"]["retryable"]) == (502, False)
        for response in (client.post(GENERATE, json=GOOD), client.get("/healthz"), client.get("/readyz")):
            assert response.status_code == 503
            assert fault in response.json()["error"]["message"]
            assert int(response.headers["retry-after"]) >= 1
        assert len(simulator.rows()) == 1  # nobody else's request was sent
        poll(lambda: client.get("/healthz").status_code == 200)
        assert client.get("/healthz").json()["status"] == "trying"
        assert fault in client.get("/healthz").json()["reason"]
        assert client.post(GENERATE, json=GOOD).status_code == 201
        assert client.get("/healthz").json() == {"status": "ok", "model": "claude-sonnet-5-5"}
    assert any(
        fault in record.getMessage() for record in caplog.records if record.name == "convoforge.generation.circuit_breaker"
    )


def test_one_that_lasts_is_asked_less_and_less(serve: Serve, simulator: SimulatorControl, short_pause: None) -> None:
    simulator.script("402", "402", "402")
    with serve() as client:
        client.post(GENERATE, json=GOOD)
        poll(lambda: client.post(GENERATE, json=GOOD).status_code == 502)
        response = client.get("/healthz")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        poll(lambda: client.post(GENERATE, json=GOOD).status_code == 201)
    assert len(simulator.rows()) == 4


def test_who_waits_for_the_rate_meanwhile_is_told_at_once(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script("ok", "402")
    answers: list[httpx.Response] = []
    with serve(limits={"max_requests": 3, "window_seconds": 60}) as client:
        client.post(GENERATE, json=GOOD)
        callers = [threading.Thread(target=lambda: answers.append(client.post(GENERATE, json=GOOD))) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(20)
    assert sorted(answer.status_code for answer in answers) == [502, 503, 503, 503, 503, 503]


def test_a_caller_without_a_token_is_not_told_why(settings: Settings, simulator: SimulatorControl, serve_app: ServeApp) -> None:
    simulator.script("402")
    guarded = settings.model_copy(update={"api_token": Settings(api_token="sesame-open").api_token})
    with serve_app(make_app(guarded, simulate=True)) as client:
        client.post(GENERATE, json=GOOD, headers={"authorization": "Bearer sesame-open"})
        assert "402" not in client.get("/healthz").text
        assert "402" in client.get("/healthz", headers={"authorization": "Bearer sesame-open"}).text


def test_a_far_retry_after_is_told_to_later_callers_at_once(serve: Serve, simulator: SimulatorControl) -> None:
    simulator.script({"kind": "429", "retry_after": 3600})
    with serve(retry={"patience_seconds": 30}) as client:
        first = client.post(GENERATE, json=GOOD)
        assert first.status_code == 429
        later = client.post(GENERATE, json=GOOD)
        assert later.status_code == 429
        assert 0 < int(later.headers["retry-after"]) <= 3600
        health = client.get("/healthz")
        assert health.status_code == 503
        assert int(health.headers["retry-after"]) > 0
    assert len(simulator.rows()) == 1


def test_nobody_waits_longer_than_allowed(serve: Serve) -> None:
    with serve(limits={"max_requests": 2, "window_seconds": 60, "max_wait_seconds": 5}) as client:
        assert client.post(GENERATE, json=GOOD).status_code == 201
        response = client.post(GENERATE, json=GOOD)
    assert response.status_code == 429
    assert 5 < int(response.headers["retry-after"]) <= 61


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out:
        step = 1 << 20
        while step:
            try:
                if out.write(bytes(step)) < step:
                    step //= 2
            except OSError:
                step //= 2


def test_after_a_full_disk_it_works_again_when_there_is_room(
    settings: Settings, simulator: SimulatorControl, small_disk: Path, serve_app: ServeApp
) -> None:
    spec = change_spec(default_spec("claude-sonnet-5-5"), limits={"max_requests": 10_000})
    on_disk = settings.model_copy(update={"data_dir": small_disk})
    with serve_app(make_app(on_disk, spec=spec, simulate=True)) as client:
        assert client.post(GENERATE, json=GOOD).status_code == 201
        fill(small_disk / "somebody-elses")
        answers: list[Any] = []
        poll(lambda: answers.append(client.post(GENERATE, json=GOOD)) or answers[-1].status_code == 503, 60)
        assert {answer.status_code for answer in answers} <= {201, 503}
        assert answers[-1].json()["error"]["type"] == "LedgerFullError"
        assert str(small_disk) not in answers[-1].text
        health = client.get("/healthz")
        assert (health.status_code, "disk is full" in health.text, "retry-after" in health.headers) == (503, True, True)
        calls = len(simulator.rows())
        assert calls == 1 + sum(answer.status_code == 201 for answer in answers)
        (small_disk / "somebody-elses").unlink()
        poll(lambda: client.get("/healthz").status_code == 200)
        assert client.post(GENERATE, json=GOOD).status_code == 201
