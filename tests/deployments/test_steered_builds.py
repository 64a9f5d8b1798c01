"""Builds that are started, followed, paused, resumed, cancelled and approved over HTTP, by a real Prefect server and its worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from house import House
from served import running
from watching import free_port, prefect_home, wait_for

from convoforge.api.app import make_app
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def house(_own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with simulator_process(latency_ms=1_000) as url:
        environment = {
            "PREFECT_HOME": str(prefect_home(folder / "prefect")),
            "PREFECT_SERVER_API_PORT": str(free_port()),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "CONVOFORGE_DATA_DIR": str(folder / "data"),
            "ANTHROPIC_BASE_URL": url,
        }
        made = House(folder, environment, int(environment["PREFECT_SERVER_API_PORT"]), SimulatorControl(url))
        up = made.local("up")
        assert up.code == 0, up.out + up.err
        yield made
        made.local("down")


@pytest.fixture
def client(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """The API beside the house: what it needs of Prefect it finds as `convoforge serve` does."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", house.environment["PREFECT_HOME"])
    settings = Settings(base_url=house.environment["ANTHROPIC_BASE_URL"], data_dir=house.folder / "data")
    with running(make_app(settings, simulate=True)) as client:
        yield client


def start(client: httpx.Client, key: str, **options: Any) -> str:
    body = {"spec": "demo", "options": {"simulate": True, "concurrency": 2, **options}}
    answers = [client.post("/api/builds", json=body, headers={"idempotency-key": key}) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202], answers[0].text
    [first, again] = [one.json()["data"] for one in answers]
    assert (first["state"], first["actions"], again["buildId"]) == ("scheduled", ["cancel"], first["buildId"])
    return str(first["buildId"])


def follow(client: httpx.Client, build: str, last: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind, id, run) of each event."""
    headers = {"last-event-id": last} if last else {}
    with client.stream("GET", f"/api/builds/{build}/events", headers=headers, timeout=120) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in stream.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif "data" in event:
                yield event["event"], event["id"], json.loads(event["data"])
                event = {}


def look(client: httpx.Client, build: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/builds/{build}").json()["data"]
    return found


def test_started_followed_paused_resumed_and_done(client: httpx.Client, house: House) -> None:
    build = start(client, "one", limit=30)
    seen = []
    for kind, number, run in follow(client, build):
        seen.append((kind, number, run))
        if run["made"] >= 4:
            break
    assert [run["state"] for _, _, run in seen][0] == "scheduled" and seen[-1][2]["state"] == "running"
    assert len({number for _, number, _ in seen}) == len(seen)
    last = seen[-1][2]
    assert last["inFlight"] <= 2 and last["rate"]["used"] >= 4 and last["spend"]["estimatedUsd"] > 0 and last["left"] > 0
    assert client.post(f"/api/builds/{build}/resume").status_code == 409
    paused = client.post(f"/api/builds/{build}/pause")
    assert (paused.status_code, paused.json()["data"]["actions"]) == (202, [])
    *_, (kind, _, ended) = follow(client, build, seen[-1][1])  # as a browser reconnects
    assert (kind, ended["state"]) == ("end", "partial") and "Prefect's Resume continues the run" in ended["message"]
    assert look(client, build)["actions"] == ["resume", "cancel"]
    assert client.post(f"/api/builds/{build}/resume").json()["data"]["state"] == "scheduled"
    *_, (kind, _, ended) = follow(client, build)
    assert (kind, ended["state"], ended["made"]) == ("end", "limited", 30)
    assert house.ledger("SELECT count(*) FROM runs WHERE state = 'limited'") == [(1,)]


def test_cancelled_while_it_goes_on_and_before_it_begins(client: httpx.Client) -> None:
    build = start(client, "two")
    wait_for(lambda: look(client, build)["made"], "answers", 240)
    assert client.post(f"/api/builds/{build}/cancel").status_code == 202
    *_, (_, _, ended) = follow(client, build)
    assert ended["state"] == "partial" and ended["message"].startswith("cancelled in Prefect")
    early = start(client, "three")
    assert client.get("/api/builds").json()["data"][0]["buildId"] == early
    assert f"/runs/{early}" in client.get("/runs", headers={"accept": "text/html"}).text
    cancelled = client.post(f"/api/builds/{early}/cancel")
    assert cancelled.status_code == 202, cancelled.text
    assert cancelled.json()["data"]["state"] == "cancelled"
    assert look(client, early)["actions"] == []


def test_approved_and_declined(client: httpx.Client) -> None:
    build = start(client, "four", limit=2, approveAboveUsd=0.001)
    found = wait_for(lambda: (one := look(client, build))["state"] == "waiting" and one, "a run that waits", 240)
    assert (found["actions"], "above approve_above_usd" in found["message"]) == (["approve", "decline"], True)
    assert client.post(f"/api/builds/{build}/approve").json()["data"]["state"] == "scheduled"
    wait_for(lambda: look(client, build)["state"] == "limited", "its end", 240)
    other = start(client, "five", limit=2, approveAboveUsd=0.001)
    wait_for(lambda: look(client, other)["state"] == "waiting", "a run that waits", 240)
    client.post(f"/api/builds/{other}/decline")
    end = wait_for(lambda: (one := look(client, other))["state"] == "partial" and one, "its end", 240)
    assert end["message"].startswith("declined")


def test_without_a_worker_no_build_is_offered(client: httpx.Client, house: House) -> None:
    """Last: it pauses the pool."""
    assert house.send("PATCH", "/work_pools/convoforge", {"is_paused": True}, auth=house.auth)[0] == 204
    answer = client.post("/api/builds", json={"spec": "demo"})
    assert answer.status_code == 503 and "the work pool 'convoforge' is paused" in answer.json()["error"]["message"]
    page = client.get("/start?spec=demo&simulate=true", headers={"accept": "text/html"}).text
    assert "No build can be started from here: the work pool" in page and 'method="post"' not in page
