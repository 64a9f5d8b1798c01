"""`make alerts WEBHOOK=…`: a notification block, the automations that use it, and a test message sent by the server itself.

WEBHOOK is in the environment, as what it holds is a secret: an address of Slack (https://hooks.slack.com/services/…), any other web
address, which gets `{"title", "text"}` as JSON, or what the package Apprise calls a service, such as e-mail
(mailto://USER:PASSWORD@DOMAIN?to=SOMEBODY@ELSEWHERE).
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

from pydantic import SecretStr

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.orchestration.automations import notifies, read_automations, register_automations, with_block
from convoforge.orchestration.server_api import ask, speaks
from convoforge.orchestration.server_home import AUTH, URL, prepare_client

if TYPE_CHECKING:
    from prefect.blocks.notifications import SlackWebhook

BLOCK = "convoforge-alerts"
TEST = "convoforge-alerts-test"
TEST_EVENT = "convoforge.alerts.test"
AGAIN_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""Seconds in which the server must have sent the test message, or failed to."""


def set_up_alerts(webhook: str, file: Path) -> list[str]:
    """Let the server that PREFECT_API_URL leads to tell of what the automations in a file listen for, and register all of them.
    Returns the names of those that send messages.

    Raises `ConfigError` for a webhook that cannot be one, `ConvoforgeError` where the test message does not leave.
    """
    url, auth = os.environ[URL].rstrip("/"), os.environ.get(AUTH)
    block = str(_make_block(webhook).save(BLOCK, overwrite=True))
    automations = read_automations(file)
    ids = register_automations(url, auth, [with_block(one, block) for one in automations])
    _send_test(url, auth, ids[TEST])
    return [one["name"] for one in automations if notifies(one) and one["name"] != TEST]


def _make_block(webhook: str) -> SlackWebhook:
    # Prefect reads where its server is when it is imported, so `main` says that first
    from prefect.blocks.notifications import SlackWebhook

    return SlackWebhook(url=SecretStr(_name_service(webhook)))  # it hands to Apprise whatever is not Slack's


def _name_service(webhook: str) -> str:
    """The webhook as Apprise knows it; a web address that it does not know gets JSON. Prefect's own block for such addresses would
    write a failing one into the server's log, with whatever secret it holds. Raises `ConfigError` for what is no address."""
    from apprise import Apprise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if Apprise.instantiate(webhook):
            return webhook
        address = urlsplit(webhook)
        if address.scheme in ("http", "https") and address.netloc:
            query = urlencode([(f"-{name}", value) for name, value in parse_qsl(address.query)] + [(":message", "text")])
            return urlunsplit((address.scheme.replace("http", "json"), address.netloc, address.path, query, ""))
    raise ConfigError(
        "WEBHOOK is no web address, and nothing that Apprise knows (https://appriseit.com): give https://…, or "
        "mailto://USER:PASSWORD@DOMAIN?to=SOMEBODY for e-mail"
    )


def _send_test(url: str, auth: str | None, automation: str) -> None:
    """Send the event that the test message is for, and wait for what becomes of it. Raises `ConvoforgeError` where it does not leave."""
    now = datetime.now(UTC)
    event = {
        "occurred": now.isoformat(),
        "event": TEST_EVENT,
        "resource": {"prefect.resource.id": "convoforge.alerts"},
        "payload": {"server": url.removesuffix("/api")},
    }
    asked = {
        "event": {"name": ["prefect.automation.action.executed", "prefect.automation.action.failed"]},
        "resource": {"id": [f"prefect.automation.{automation}"]},
        "occurred": {"since": now.isoformat(), "until": (now + timedelta(days=1)).isoformat()},
    }
    began, sent = time.monotonic(), 0
    while (waited := time.monotonic() - began) < ANSWER_SECONDS:
        if waited >= sent * AGAIN_SECONDS:  # the server listens for an automation from some moment after it has taken it
            ask(url, auth, "/events", [{**event, "id": str(uuid4())}])
            sent += 1
        if found := ask(url, auth, "/events/filter", {"filter": asked})["events"]:
            if found[0]["event"].endswith("executed"):
                return
            reason = found[0]["payload"].get("notification_log") or found[0]["payload"].get("reason")
            raise ConvoforgeError(
                f"the test message did not leave: {' '.join(str(reason).split())[:300].rstrip('.')}. Is WEBHOOK right?"
            )
        time.sleep(0.5)
    raise ConvoforgeError(
        f"the Prefect server has not sent the test message in {ANSWER_SECONDS:.0f} s: is it busy, or does WEBHOOK not answer?"
    )


def main(arguments: list[str]) -> None:
    """Set up alerts from a file, and say so; or end with one line on what is wrong."""
    webhook = os.environ.get("WEBHOOK", "").strip()
    if len(arguments) != 1 or not webhook:
        sys.exit(
            "usage: make alerts WEBHOOK=https://…  (Slack, any other web address, or mailto://USER:PASSWORD@DOMAIN?to=SOMEBODY)"
        )
    prepare_client()
    if not speaks(os.environ.get(URL, "")):
        sys.exit("no Prefect server answers: `make up` starts one, or set PREFECT_API_URL")
    try:
        names = set_up_alerts(webhook, Path(arguments[0]))
    except ConvoforgeError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"the Prefect server does not take the automations: {error}")
    print(f"A test message is on its way. You are told of: {', '.join(names)}. They are on the page Automations of Prefect's UI.")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
