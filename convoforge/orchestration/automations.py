"""Prefect automations from a file: registered by name, so that doing it again changes them and makes no second ones."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from convoforge.orchestration.server_api import ask

NOTIFIES = "send-notification"
"""The type of an action that needs a notification block."""


def read_automations(path: Traversable) -> list[dict[str, Any]]:
    """The automations of a file such as `deployments/automations.yaml`."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["automations"]
    return found


def notifies(automation: dict[str, Any]) -> bool:
    """Whether an automation sends messages, and so needs a block that says where to."""
    return any(action["type"] == NOTIFIES for action in automation["actions"])


def with_block(automation: dict[str, Any], block: str) -> dict[str, Any]:
    """The automation, with its messages sent by the notification block of this id."""
    actions = [{**one, "block_document_id": block} if one["type"] == NOTIFIES else one for one in automation["actions"]]
    return {**automation, "actions": actions}


def register_automations(url: str, auth: str | None, automations: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Make each automation, or change the one of its name into it; more of one name, as made by hand, are removed.

    Returns their ids by name. Raises `OSError` where the server does not take one.
    """
    names = [one["name"] for one in automations]
    known: dict[str, list[str]] = {name: [] for name in names}
    for one in ask(url, auth, "/automations/filter", {"automations": {"name": {"any_": names}}}):
        known[one["name"]].append(one["id"])
    ids = {}
    for automation in automations:
        name = automation["name"]
        first, *others = known[name] or [ask(url, auth, "/automations/", automation)["id"]]
        if known[name]:
            ask(url, auth, f"/automations/{first}", automation, "PUT")
        for other in others:
            ask(url, auth, f"/automations/{other}", method="DELETE")
        ids[name] = first
    return ids
