"""Runs that wait for approval, as a Prefect server has them; asked without Prefect's own client, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from convoforge.errors import ConfigError, SteeringError
from convoforge.orchestration.server_api import ANSWER_SECONDS
from convoforge.orchestration.steering import APPROVAL_KEY, PrefectServer


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that waits: its id in Prefect, which is also the ledger's, its name, and what it asks."""

    id: str
    name: str
    question: str


def list_waiting(server: PrefectServer) -> list[WaitingRun]:
    """All runs that wait, the oldest first. Raises `SteeringError` where the server does not answer."""
    paused = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "sort": "EXPECTED_START_TIME_ASC"}
    try:
        return [
            WaitingRun(run["id"], run["name"], _read_question(server, run))
            for run in server.ask("/flow_runs/filter", paused, ANSWER_SECONDS)
            if str(run["state"]["state_details"]["pause_key"]).startswith(APPROVAL_KEY)
        ]
    except HTTPError as error:
        raise SteeringError(f"the Prefect server fails with status {error.code}") from error


def find_waiting(runs: list[WaitingRun], given: str) -> WaitingRun:
    """The run whose name or id begins with `given`. Raises `ConfigError` where that is not one of them."""
    plain = given.replace("-", "")
    found = [run for run in runs if plain and (run.name.startswith(given) or run.id.replace("-", "").startswith(plain))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{run.id[:8]} ({run.name})" for run in runs) or "none"
    how_many = "several runs begin" if found else "no run begins"
    raise ConfigError(f"{how_many} with '{given}', by name or id; these wait for approval: {names}")


def _read_question(server: PrefectServer, run: dict[str, Any]) -> str:
    key = run["state"]["state_details"]["run_input_keyset"]["description"]
    return str(server.ask(f"/flow_runs/{run['id']}/input/{key}"))
