"""Runs that wait for approval, as a Prefect server has them; asked without Prefect's own client, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.orchestration.server_api import ask

APPROVAL_KEY = "approval-"
"""First part of the key of a pause that waits for approval; the amount follows, in US cents."""


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that waits: its id in Prefect, which is also the ledger's, its name, and what it asks."""

    id: str
    name: str
    question: str


def list_waiting(url: str, auth: str | None) -> list[WaitingRun]:
    """All runs that wait, the oldest first. Raises `OSError` where the server does not answer."""
    paused = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "sort": "EXPECTED_START_TIME_ASC"}
    return [
        WaitingRun(run["id"], run["name"], _read_question(url, auth, run))
        for run in ask(url, auth, "/flow_runs/filter", paused)
        if str(run["state"]["state_details"]["pause_key"]).startswith(APPROVAL_KEY)
    ]


def find_waiting(runs: list[WaitingRun], given: str) -> WaitingRun:
    """The run whose name or id begins with `given`. Raises `ConfigError` where that is not one of them."""
    plain = given.replace("-", "")
    found = [run for run in runs if plain and (run.name.startswith(given) or run.id.replace("-", "").startswith(plain))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{run.id[:8]} ({run.name})" for run in runs) or "none"
    how_many = "several runs begin" if found else "no run begins"
    raise ConfigError(f"{how_many} with '{given}', by name or id; these wait for approval: {names}")


def answer_run(url: str, auth: str | None, run: WaitingRun, decision: Literal["approve", "decline"]) -> None:
    """Answer a run's question; it goes on, or ends. Raises `ConvoforgeError` where Prefect does not take the answer."""
    answer = ask(url, auth, f"/flow_runs/{run.id}/resume", {"run_input": {"decision": decision}})
    if answer["status"] != "ACCEPT":
        raise ConvoforgeError(f"Prefect does not resume the run '{run.name}': {(answer.get('details') or {}).get('reason')}")


def _read_question(url: str, auth: str | None, run: dict[str, Any]) -> str:
    key = run["state"]["state_details"]["run_input_keyset"]["description"]
    return str(ask(url, auth, f"/flow_runs/{run['id']}/input/{key}"))
