"""`make alerts`: a real server tells a real web address and a real mail server, and doing it again makes nothing twice."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from watching import wait_for

from convoforge.orchestration import alerts
from convoforge.orchestration.automations import read_automations, register_automations
from convoforge.orchestration.server_api import ask

FILE = Path(__file__).resolve().parent.parent.parent / "deployments" / "automations.yaml"
PATIENCE = 240.0
"""Seconds for a message to arrive: on a machine that is busy with other tests, a server handles its events a minute later."""

pytestmark = pytest.mark.timeout(900)
NAMES = ["convoforge-ended-badly", "convoforge-budget", "convoforge-stuck-running", "convoforge-schedule-missed"]


@contextmanager
def served(server: socketserver.TCPServer) -> Iterator[int]:
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web address, and what was sent there."""
    messages: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200 if self.path == "/hook?token=of-nobody-else" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(HTTPServer(("127.0.0.1", 0), Hook)) as port:
        yield f"http://127.0.0.1:{port}/hook?token=of-nobody-else", messages


@pytest.fixture
def mailed() -> Iterator[tuple[str, list[str]]]:
    """The address of a mail server, and the mails that it took."""
    mails: list[str] = []

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                word = line.strip().upper()[:4]
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mails.append("".join(iter(lambda: self.rfile.readline().decode(), ".\r\n")))
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 well\r\n")
                if word == b"QUIT":
                    return

    with served(socketserver.TCPServer(("127.0.0.1", 0), Mail)) as port:
        yield f"mailto://127.0.0.1:{port}?from=convoforge@example.org&to=somebody@example.org&mode=insecure", mails


def registered(url: str) -> list[dict[str, Any]]:
    return [one for one in ask(url, None, "/automations/filter", {}) if one["name"].startswith("convoforge-")]


def blocks(url: str) -> list[dict[str, Any]]:
    return [one for one in ask(url, None, "/block_documents/filter", {}) if one["name"] == alerts.BLOCK]


@pytest.mark.long
def test_alerts_are_set_up_in_one_step_tell_a_web_address_and_then_a_mailbox_and_are_there_once(
    prefect_server: str,
    told: tuple[str, list[dict[str, str]]],
    mailed: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setattr(alerts, "ANSWER_SECONDS", PATIENCE)
    by_hand = read_automations(FILE)[0]
    for _ in range(2):
        ask(prefect_server, None, "/automations/", by_hand)
    (webhook, messages), (mailbox, mails) = told, mailed
    for address in (webhook, webhook, mailbox):
        monkeypatch.setenv("WEBHOOK", address)
        alerts.main([str(FILE)])
        assert capsys.readouterr().out.startswith(f"A test message is on its way. You are told of: {', '.join(NAMES)}.")
        assert sorted(one["name"] for one in registered(prefect_server)) == sorted([*NAMES, alerts.TEST, "convoforge-dead-runs"])
        [block] = blocks(prefect_server)
        actions = [action for one in registered(prefect_server) for action in one["actions"]]
        used = {action["block_document_id"] for action in actions if action["type"] == "send-notification"}
        assert used == {block["id"]}
        assert "of-nobody-else" not in json.dumps(block)  # Prefect keeps it encrypted, and shows it to nobody
    assert {one["title"] for one in messages} == {"convoforge: test message"}
    assert f"Alerts of {prefect_server.removesuffix('/api')} arrive here" in messages[0]["text"]
    assert "Subject: convoforge: test message" in mails[0]
    monkeypatch.setenv("WEBHOOK", webhook)
    alerts.main([str(FILE)])
    event = {
        "event": "convoforge.budget.reached",
        "occurred": "2026-11-26T00:00:00Z",
        "id": "00000000-0000-0000-0000-0000000000aa",
        "resource": {
            "prefect.resource.id": "convoforge.dataset.7",
            "prefect.resource.name": "demo",
            "convoforge.provider": "anthropic",
        },
        "payload": {"message": "run budget: $4.00 of $5.00 (80%) used"},
    }
    ask(prefect_server, None, "/events", [event])
    budget = wait_for(lambda: [one for one in messages if "Budget" in one["title"]], "the alert of a budget", PATIENCE)
    assert (budget[0]["title"], budget[0]["text"]) == ("Budget of demo", "run budget: $4.00 of $5.00 (80%) used")
    for one in registered(prefect_server):
        ask(prefect_server, None, f"/automations/{one['id']}", method="DELETE")


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ("", "usage: make alerts WEBHOOK="),
        ("hook", "WEBHOOK is no web address"),
        ("foo://x", "nothing that Apprise knows"),
        ("mailto://nobody", "nothing that Apprise knows"),
    ],
)
def test_what_is_no_webhook_is_said_in_one_line(
    webhook: str, said: str, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setenv("WEBHOOK", webhook)
    with pytest.raises(SystemExit, match=said):
        alerts.main([str(FILE)])


@pytest.mark.long
def test_a_run_that_does_not_end_and_a_schedule_that_is_missed_are_told_and_a_wrong_address_is_noticed(
    prefect_server: str, told: tuple[str, list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setattr(alerts, "ANSWER_SECONDS", PATIENCE)
    webhook, messages = told
    monkeypatch.setenv("WEBHOOK", webhook.replace("hook?", "nowhere?"))
    with pytest.raises(SystemExit, match="the test message did not leave: .*404.*Is WEBHOOK right"):
        alerts.main([str(FILE)])
    monkeypatch.setenv("WEBHOOK", webhook)
    alerts.main([str(FILE)])
    hasty = [
        {**one, "trigger": {**one["trigger"], "within": 10}}
        for one in registered(prefect_server)
        if one["trigger"].get("posture") == "Proactive"
    ]
    names = ("name", "description", "enabled", "trigger", "actions")
    register_automations(prefect_server, None, [{name: one[name] for name in names} for one in hasty])
    flow = ask(prefect_server, None, "/flows/", {"name": "build-dataset"})["id"]
    for kind, name in (("RUNNING", "Running"), ("SCHEDULED", "Late")):
        run = ask(prefect_server, None, "/flow_runs/", {"flow_id": flow, "state": {"type": "SCHEDULED"}})["id"]
        state = {"state": {"type": kind, "name": name}, "force": True}
        ask(prefect_server, None, f"/flow_runs/{run}/set_state", state)
    expected = {"A run does not end", "A scheduled run does not begin"}
    wait_for(lambda: expected <= {one["title"] for one in messages}, "both alerts", PATIENCE)
    for one in registered(prefect_server):
        ask(prefect_server, None, f"/automations/{one['id']}", method="DELETE")
