"""The pages of runs: the list, one run, the form that starts one; and the same for programs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from followed import GoingRun
from sqlalchemy import select, update
from viewing import Pages

from convoforge.ledger import Ledger
from convoforge.ledger.tables import datasets, owners, runs
from convoforge.orchestration.followed_runs import read_by
from convoforge.orchestration.steering import FlowRunState, PrefectServer
from convoforge.runs.feed import Feed
from convoforge.viewer.state import THREADS


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages.open(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(pages: Pages) -> Iterator[GoingRun]:
    with Ledger(pages.settings.database_url) as ledger:
        going = GoingRun.begin(ledger)
        going.fail("no room (429) <b>now</b>")
        yield going


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Prefect server, until a test has one."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))


def test_runs_are_listed_with_their_progress(pages: Pages, run: GoingRun) -> None:
    text = pages.get("/runs").text
    assert f'href="/runs/{run.id}"' in text and "2 of 2 done, $0.02 of $2.00" in text
    assert f'<tr id="run-{run.id}">' in text and '<tbody id="runs" data-goes-on>' in text
    assert '<script src="/static/run_list.js?' in text


def test_a_run_shows_rate_queue_spend_time_left_and_errors_with_what_to_do(pages: Pages, run: GoingRun) -> None:
    run.note("waiting for the rate limit", queue=7)
    text = pages.get(f"/runs/{run.id}").text
    for word in ("waiting for the rate limit (7 requests in the queue)", "of 40 requests in 60 s", "of $2.00", "1 min 15 s left"):
        assert word in text
    assert "1 × retried: no room (429) &lt;b&gt;now&lt;/b&gt;" in text and "lower limits.max_requests" in text
    assert f'data-events="/runs/{run.id}/events"' in text
    assert f'href="/simulated/goats/conversations?run={run.id}"' in text
    assert pages.get(f"/simulated/goats/conversations?run={run.id}").status_code == 200
    assert '<noscript><meta http-equiv="refresh"' in text


def test_where_no_prefect_server_is_nothing_is_offered_and_what_to_do_is_said(pages: Pages, run: GoingRun) -> None:
    text = pages.get("/start").text
    assert (
        "No build can be started from here: no Prefect server runs: run <code>make up</code>" in text
        and 'method="post"' not in text
    )
    page = pages.get(f"/runs/{run.id}").text
    assert 'method="post"' not in page


def test_a_run_is_found_by_the_beginning_of_its_id(pages: Pages, run: GoingRun) -> None:
    assert f'data-events="/runs/{run.id}/events"' in pages.get(f"/runs/{run.id[:8]}").text


@pytest.mark.parametrize("server", ["", "http://127.0.0.1:9/api"])
def test_an_unknown_run_is_no_page(pages: Pages, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)
    assert pages.get("/runs/feed").status_code == 404
    assert pages.get("/runs/feed/events").status_code == 404
    assert pages.post("/runs/feed/cancel").status_code == 404
    assert pages.get("/api/builds/" + 32 * "f").status_code == 404


def test_the_form_has_the_options_of_the_deployment_and_shows_the_estimate_before_the_button(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convoforge.viewer import start_run

    empty = pages.get("/start").text
    assert empty.index('name="simulate"') < empty.index('name="limit"') < empty.index('name="strand"')
    assert 'type="number" name="limit" value="" step="1" min="1"' in empty and "<option>demo</option>" in empty
    monkeypatch.setattr(start_run, "_find_trouble", lambda: None)
    text = pages.get("/start?spec=demo&simulate=true&limit=3&strand=0.1").text
    assert "demo: 3 to generate" in text and "Start, simulated" in text
    assert '<input type="hidden" name="limit" value="3">' in text and '<input type="hidden" name="wait" value="false">' in text
    wrong = pages.get("/start?spec=demo&limit=many").text
    assert 'role="alert"' in wrong and "limit" in wrong and "Start, " not in wrong
    assert "unknown spec &#39;/etc/passwd&#39;" in pages.get("/start?spec=/etc/passwd").text


def test_programs_read_the_same(pages: Pages, run: GoingRun) -> None:
    run.note(queue=3)
    one = pages.get(f"/api/builds/{run.id}").json()["data"]
    assert (one["state"], one["made"], one["left"], one["queueLength"], one["actions"]) == ("running", 2, 0, 3, [])
    assert one["rate"] == {"used": 1, "allowed": 40, "windowSeconds": 60}
    assert one["spend"] == {"costUsd": 0.02, "budgetUsd": 2, "estimatedUsd": 0.04, "maybeUsd": 0}
    assert one["cells"]["accepted"] == 2 and one["incidents"][0]["toDo"]
    listed = pages.get("/api/builds?limit=1").json()["data"]
    assert [known["buildId"] for known in listed] == [run.id]


def test_a_program_hears_what_to_do_where_no_server_is(pages: Pages, run: GoingRun) -> None:
    how = {"json": {"spec": "demo", "options": {"simulate": True}}}
    assert pages.post("/api/builds", **how, headers={"idempotency-key": "k"}).status_code == 503
    assert pages.post("/api/builds", **how, headers={"idempotency-key": "k" * 256}).status_code == 400
    answer = pages.post("/api/builds", **how)
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "type": "SteeringError",
        "message": "no Prefect server runs: run `make up`, which starts a server and a worker, or set PREFECT_API_URL to a server of yours",
        "details": {},
    }
    assert pages.post(f"/api/builds/{run.id}/cancel").status_code == 503
    assert pages.post("/api/builds", json={"spec": "../../x.yaml"}).status_code == 400
    assert (
        pages.post("/api/builds", json={"spec": "demo", "options": {"budgetUsd": 1}})
        .json()["error"]["message"]
        .startswith("options.")
    )
    assert pages.post(f"/api/builds/{run.id}/destroy").status_code == 404


@pytest.mark.parametrize(
    ("kind", "pause_key", "deployed", "actions"),
    [
        ("SCHEDULED", "", True, ("cancel",)),
        ("RUNNING", "", True, ("pause", "cancel")),
        ("RUNNING", "", False, ("cancel",)),
        ("PAUSED", "", True, ("resume", "cancel")),
        ("PAUSED", "approval-500", True, ("approve", "decline")),
        ("CANCELLING", "", True, ()),
        ("COMPLETED", "", True, ()),
    ],
)
def test_only_what_can_be_done_now_is_offered(kind: str, pause_key: str, deployed: bool, actions: tuple[str, ...]) -> None:
    run: Any = {"id": "1", "name": "n", "subject": "demo", "kind": kind, "state": "", "message": ""}
    assert FlowRunState(**run, pause_key=pause_key, deployed=deployed).actions == actions


def test_events_of_a_run_end_with_it(pages: Pages, run: GoingRun) -> None:
    """Last in this file: it ends the run. Over HTTP it is tried in tests/flows."""
    run.end()
    pages.app.state.viewer.feed = Feed(read_by(run.ledger), 0.02)
    text = pages.get(f"/api/builds/{run.id}/events").text
    [kind, data, number] = [line.partition(": ")[2] for line in text.strip().splitlines()]
    assert (kind, json.loads(data)["state"], json.loads(data)["version"]) == ("end", "completed", 1)
    assert number in pages.get(f"/api/builds/{run.id}/events", headers={"last-event-id": number}).text
    assert '<span class="state completed">' in pages.get(f"/runs/{run.id}/events").text
    assert '<tbody id="runs">' in pages.get("/runs").text  # nothing goes on: it is not read again


def test_a_run_of_another_version_hides_nothing_and_one_that_was_killed_has_failed(pages: Pages) -> None:
    with Ledger(pages.settings.database_url) as ledger:
        run = GoingRun.begin(ledger)

        def write(statement: Any) -> None:
            ledger.write(lambda connection: connection.execute(statement) and None)

        write(update(runs).values(spec='{"of": "tomorrow"}').where(runs.c.id == run.id))
        write(update(datasets).values(spec='{"of": "tomorrow", "model": "m"}').where(datasets.c.name == "goats"))
        assert pages.get(f"/runs/{run.id}").status_code == 200
        assert pages.get(f"/api/builds/{run.id}").json()["data"]["rate"] is None
        assert run.id in pages.get("/api/builds").text
        assert pages.get("/costs").status_code == 200
        assert pages.get("/api/datasets/goats?simulated=true").json()["data"]["lastRun"]["state"] == "running"
        owner = select(runs.c.owner).where(runs.c.id == run.id).scalar_subquery()
        write(update(owners).where(owners.c.id == owner).values(lease_until=datetime(2026, 1, 1, tzinfo=UTC)))
        assert pages.get("/api/datasets/goats?simulated=true").json()["data"]["lastRun"]["state"] == "failed"
        assert '<span class="state failed">' in pages.get("/").text


def test_a_prefect_server_that_hangs_holds_only_the_pages_that_ask_it(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(server: socket.socket) -> int:
        waiting = [asyncio.create_task(pages.ask("/runs")) for _ in range(THREADS)]
        held = [(await asyncio.get_running_loop().sock_accept(server))[0] for _ in waiting]
        async with asyncio.timeout(10):
            found = await pages.ask("/costs")
        for one in held:
            one.close()
        assert [(await one).status_code for one in waiting] == [200] * THREADS
        return found.status_code

    monkeypatch.setattr(PrefectServer.ask, "__defaults__", (None, 60.0))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.getsockname()[1]}/api")
        assert pages.run(look(server)) == 200
