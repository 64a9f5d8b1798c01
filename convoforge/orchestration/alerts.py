"""`make alerts WEBHOOK=…`: a notification block, the automations that use it, and a test message sent by the server itself.

WEBHOOK is in the environment, as what it holds is a secret: an address of Slack (https://hooks.slack.com/services/…), any other web
address, which gets `{"subject", "body", "text"}` as JSON, or what the package Apprise calls a service, such as e-mail
(mailto://USER:PASSWORD@DOMAIN?to=SOMEBODY@ELSEWHERE).
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import SecretStr

from convoforge.errors import ConfigError, ConvoforgeError, shown
from convoforge.orchestration.automations import notifies, read_automations, register_automations, with_block
from convoforge.orchestration.server_api import ask, speaks
from convoforge.orchestration.server_home import AUTH, URL, prepare_client

if TYPE_CHECKING:
    from prefect.blocks.abstract import NotificationBlock

BLOCK = "convoforge-alerts"
TEST = "convoforge-alerts-test"
TEST_EVENT = "convoforge.alerts.test"
ANSWER_SECONDS = 30.0
"""Seconds in which the server must have sent the test message, or failed to."""


def set_up_alerts(webhook: str, file: Path) -> list[str]:
    """Let the server that PREFECT_API_URL leads to tell of what the automations in a file listen for. Returns their names.

    Raises `ConfigError` for a webhook that cannot be one, `ConvoforgeError` where the test message does not leave.
    """
    url, auth = os.environ[URL].rstrip("/"), os.environ.get(AUTH)
    block = str(_make_block(webhook).save(BLOCK, overwrite=True))
    automations = [with_block(one, block) for one in read_automations(file) if notifies(one)]
    ids = register_automations(url, auth, automations)
    for one in ask(url, auth, "/block_documents/filter", {"block_documents": {"is_anonymous": {"eq_": False}}}):
        if one["name"] == BLOCK and one["id"] != block:  # of another type, which nothing uses any more
            ask(url, auth, f"/block_documents/{one['id']}", method="DELETE")
    _send_test(url, auth, ids[TEST])
    return [name for name in ids if name != TEST]


def _make_block(webhook: str) -> NotificationBlock:
    # Prefect reads where its server is when it is imported, so `main` says that first
    from apprise import Apprise
    from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
    from prefect.types import SecretDict

    address = urlsplit(webhook)
    if not address.scheme or not (address.netloc or address.path):
        raise ConfigError("WEBHOOK is no address: give https://…, or mailto://USER:PASSWORD@DOMAIN?to=SOMEBODY for e-mail")
    if address.scheme in ("http", "https") and not (address.hostname or "").endswith(("slack.com", "slack-gov.com")):
        return CustomWebhookNotificationBlock(
            name="convoforge",
            url="{{webhook}}",
            json_data={"subject": "{{subject}}", "body": "{{body}}", "text": "{{subject}}\n{{body}}"},
            headers=None,
            cookies=None,
            secrets=SecretDict({"webhook": webhook}),
        )
    if not Apprise.instantiate(webhook):
        raise ConfigError(
            f"WEBHOOK: {shown(address.scheme)} is no service of Apprise, or is written in another way: see https://appriseit.com"
        )
    return SlackWebhook(url=SecretStr(webhook))  # it hands to Apprise whatever is not Slack's


def _send_test(url: str, auth: str | None, automation: str) -> None:
    """Send the event that the test message is for, and wait for what becomes of it. Raises `ConvoforgeError` where it does not leave."""
    now = datetime.now(UTC)
    event = {
        "id": str(uuid4()),
        "occurred": now.isoformat(),
        "event": TEST_EVENT,
        "resource": {"prefect.resource.id": "convoforge.alerts"},
        "payload": {"server": url.removesuffix("/api")},
    }
    ask(url, auth, "/events", [event])
    asked = {
        "event": {"name": ["prefect.automation.action.executed", "prefect.automation.action.failed"]},
        "resource": {"id": [f"prefect.automation.{automation}"]},
        "occurred": {"since": now.isoformat(), "until": (now + timedelta(days=1)).isoformat()},
    }
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        if found := ask(url, auth, "/events/filter", {"filter": asked})["events"]:
            if found[0]["event"].endswith("executed"):
                return
            reason = found[0]["payload"].get("notification_log") or found[0]["payload"].get("reason")
            raise ConvoforgeError(f"the test message did not arrive: {' '.join(str(reason).split())[:300]}. Is WEBHOOK right?")
        time.sleep(0.5)
    raise ConvoforgeError(
        f"the Prefect server has not sent the test message in {ANSWER_SECONDS:.0f} s: WEBHOOK refuses it, or does not answer. The "
        "server's log says which"
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
