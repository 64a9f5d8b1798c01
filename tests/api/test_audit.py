"""Who did what and when is in the ledger: what may change something, and what a token may not do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from convoforge.api import audit as log
from convoforge.api.app import make_app
from convoforge.api.tokens import make_token, read_scopes
from convoforge.errors import LedgerError
from convoforge.ledger import Ledger, audit
from convoforge.settings import Settings

GENERATE = "/api/conversations/generate"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}


@pytest.fixture
def client(settings: Settings, serve_app: Callable[[FastAPI], AbstractContextManager[httpx.Client]]) -> Iterator[httpx.Client]:
    made = {name: make_token(name, read_scopes(scopes, "")) for name, scopes in (("shop", "generate"), ("chief", "admin"))}
    file = settings.data_dir / "tokens"
    file.write_text("\n".join(line for _, line in made.values()))
    with serve_app(make_app(settings.model_copy(update={"api_token_file": file}), simulate=True)) as client:
        client.tokens = {name: {"authorization": f"Bearer {token}"} for name, (token, _) in made.items()}
        yield client


def entries(client: httpx.Client, **query: int) -> list[dict[str, Any]]:
    response = client.get("/api/audit", params=query, headers=client.tokens["chief"])
    assert response.status_code == 200
    return response.json()["data"]


def test_what_changes_something_and_what_is_not_allowed_is_kept(client: httpx.Client) -> None:
    shop, chief = client.tokens["shop"], client.tokens["chief"]
    one = client.post(GENERATE, json=GOOD, headers=shop).json()["data"]["conversationId"]
    batch = client.post(f"{GENERATE}-batch", json={"requests": [GOOD]}, headers=shop)
    assert batch.headers["location"] == f"/api/batches/{batch.json()['data']['batchId']}"
    client.post(GENERATE, json={}, headers=shop)
    client.post(GENERATE, json=GOOD, headers=chief)
    client.get(f"/api/conversations/{one}", headers=chief)
    client.post(GENERATE, json=GOOD, headers={"sec-fetch-site": "cross-site", "authorization": ""} | chief)
    for response in (
        client.get(f"/api/conversations/{one}", headers=shop),
        client.delete(GENERATE, headers=shop),
        client.post("/nothing", headers=shop),
        client.post(GENERATE, json=GOOD, headers={"authorization": "Bearer wrong"}),
    ):
        assert response.status_code in (200, 401, 404, 405)
    client.post("/login", data={"token": shop["authorization"].removeprefix("Bearer ")})
    client.post(GENERATE, json=GOOD, headers={"sec-fetch-site": "cross-site"})
    deadline = time.monotonic() + 20
    while len(kept := entries(client)) < 9:
        assert time.monotonic() < deadline
    assert [(one["who"], one["method"], one["route"], one["object"], one["status"]) for one in reversed(kept)] == [
        ("shop", "POST", GENERATE, one, 201),
        ("shop", "POST", f"{GENERATE}-batch", batch.json()["data"]["batchId"], 201),
        ("shop", "POST", GENERATE, "", 400),
        ("chief", "POST", GENERATE, "", 403),
        ("chief", "GET", "/api/conversations/{name}", one, 403),
        ("chief", "POST", GENERATE, "", 403),
        ("nobody", "POST", GENERATE, "", 401),
        ("shop", "POST", "/login", "", 303),
        ("shop", "POST", GENERATE, "", 403),
    ]
    assert (datetime.now(UTC) - datetime.fromisoformat(kept[0]["at"])).total_seconds() < 60
    assert entries(client, limit=2, before=kept[2]["id"]) == kept[3:5]
    assert client.get("/api/audit", headers=shop).status_code == 403


def test_who_is_refused_is_kept_and_no_secret_is(client: httpx.Client) -> None:
    shop = client.tokens["shop"]
    secret, page = "sk-ant-secret", {"accept": "text/html"}
    wrong = {"authorization": f"Bearer {secret}"}
    right = shop["authorization"].removeprefix("Bearer ")
    client.get(f"/api/conversations/{'a' * 32}", headers=wrong)
    client.head("/costs")
    client.get(f"/nothing/{secret}?token={secret}")
    client.post(f"{GENERATE}?key={secret}", json=GOOD, headers=wrong)
    client.post("/login", data={"token": secret, "next": f"/costs/{secret}"})
    client.head("/api/audit", headers=shop)
    assert client.get(f"/costs?next={secret}", headers=page).status_code == 303  # to the login: nobody is refused
    client.post(f"/login?next={secret}", data={"token": right, "next": f"/costs/{secret}?next={secret}"})
    deadline = time.monotonic() + 20
    while len(kept := entries(client)) < 7:
        assert time.monotonic() < deadline, kept
    assert [(one["who"], one["method"], one["route"], one["object"], one["status"]) for one in reversed(kept)] == [
        ("nobody", "GET", "/api/conversations/{name}", "", 401),
        ("nobody", "HEAD", "/costs", "", 401),
        ("nobody", "GET", "", "", 401),
        ("nobody", "POST", GENERATE, "", 401),
        ("nobody", "POST", "/login", "", 401),
        ("shop", "HEAD", "/api/audit", "", 403),
        ("shop", "POST", "/login", "", 303),
    ]


def test_a_flood_of_strangers_pushes_nobody_out(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "STRANGERS_A_MINUTE", 3)
    minute = time.monotonic() // 60
    for _ in range(9):
        client.get("/costs")
    client.get("/api/audit", headers=client.tokens["shop"])
    deadline = time.monotonic() + 20
    while "shop" not in (who := [one["who"] for one in entries(client)]):
        assert time.monotonic() < deadline, who
    assert who.count("nobody") in ({3} if time.monotonic() // 60 == minute else range(3, 7))


def test_a_ledger_that_takes_no_entry_keeps_nobody_from_working(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> list[None]:
        raise LedgerError("no")

    monkeypatch.setattr("convoforge.api.audit.record_entries", refuse)
    assert client.post(GENERATE, json=GOOD, headers=client.tokens["shop"]).status_code == 201
    assert entries(client) == []
    assert "by shop (201) is not in the audit log: no" in caplog.text


def test_only_the_newest_entries_are_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEPT_ENTRIES", 3)
    some = [audit.AuditEntry(datetime.now(UTC), "w", "POST", "/r", str(number), 200) for number in range(5)]
    with Ledger(settings.database_url) as ledger:
        ledger.write(audit.record_entries, some[:2])
        ledger.write(audit.record_entries, some[2:])
        assert [row.object for row in ledger.read(audit.read_entries, limit=10)] == ["4", "3", "2"]
