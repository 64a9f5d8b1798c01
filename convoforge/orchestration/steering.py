"""Builds are started and steered through the deployments of a Prefect server, which is asked without Prefect's own client.

Where no server answers, or no worker would take a run, `SteeringError` says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Literal, get_args
from urllib.error import HTTPError

from convoforge.errors import ConfigError, SteeringError
from convoforge.orchestration.local_server import pass_proxies_by
from convoforge.orchestration.server_api import ANSWER_SECONDS, READ_SECONDS, ask
from convoforge.orchestration.server_home import AUTH, URL, find_access
from convoforge.planning.options import BuildOptions

BUILD = "build-dataset/build"
"""The deployment that builds."""

Action = Literal["pause", "resume", "cancel", "approve", "decline"]
ACTIONS: tuple[Action, ...] = get_args(Action)

APPROVAL_KEY = "approval-"
"""First part of the key of a pause that waits for approval; the amount follows, in US cents."""

SOON = timedelta(minutes=1)
"""Time within which a run of a schedule counts as one that waits."""

_TO_DO = "run `make up`, which starts a server and a worker, or set PREFECT_API_URL to a server of yours"


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """Where a Prefect server is, and the auth string that it wants."""

    url: str
    auth: str | None

    def ask(self, path: str, body: object = None, seconds: float = READ_SECONDS) -> Any:
        """Its answer to a question. Raises `SteeringError` where it does not answer, and `HTTPError` for what it refuses."""
        try:
            return ask(self.url, self.auth, path, body, seconds=seconds)
        except HTTPError as error:
            if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise SteeringError("the Prefect server wants another auth string: set PREFECT_API_AUTH_STRING to it") from error
            raise
        except OSError as error:
            raise SteeringError(f"no Prefect server answers at PREFECT_API_URL: {_TO_DO}") from error

    def ask_plainly(self, path: str, body: object = None, seconds: float = READ_SECONDS) -> Any:
        """The same, where nothing is refused that it should not. Raises `SteeringError` alone."""
        try:
            return self.ask(path, body, seconds)
        except HTTPError as error:
            raise SteeringError(f"the Prefect server fails with status {error.code}") from error


@dataclass(frozen=True, slots=True)
class FlowRunState:
    """A run as Prefect has it. `kind` is the type of its state (RUNNING …), `pause_key` says what it waits
    for; `deployed` is one that a worker runs, and so can take up again."""

    id: str
    name: str
    subject: str
    kind: str
    state: str
    message: str
    pause_key: str
    deployed: bool

    @property
    def actions(self) -> tuple[Action, ...]:
        """What can be done to it now."""
        if self.pause_key.startswith(APPROVAL_KEY):
            return ("approve", "decline")
        if self.kind == "PAUSED":
            return ("resume", "cancel") if self.deployed else ("cancel",)
        if self.kind == "RUNNING":
            return ("pause", "cancel") if self.deployed else ("cancel",)
        return ("cancel",) if self.kind in ("SCHEDULED", "PENDING") else ()


def find_prefect() -> PrefectServer:
    """The server that the environment names, or that of `make up` or of a build. Raises `SteeringError` where there is none."""
    pass_proxies_by()
    access = {**os.environ, **find_access(os.environ)}
    if not access.get(URL):
        raise SteeringError(f"no Prefect server runs: {_TO_DO}")
    return PrefectServer(access[URL].rstrip("/"), access.get(AUTH))


def find_builder(server: PrefectServer) -> str:
    """The id of the deployment that builds. Raises `SteeringError` where there is none, or no worker that would take a run of it."""
    try:
        deployment = server.ask(f"/deployments/name/{BUILD}")
        pool = server.ask(f"/work_pools/{deployment['work_pool_name']}")
    except HTTPError as error:
        raise SteeringError(f"the Prefect server has no deployment {BUILD}: deploy it with `make up`") from error
    if pool["status"] != "READY":
        word = "is paused" if pool["is_paused"] else "has no worker that is online"
        raise SteeringError(
            f"the work pool '{pool['name']}' {word}: start one with `make up`, or resume the pool in Prefect's UI"
        )
    return str(deployment["id"])


def start_build(server: PrefectServer, spec: str, options: BuildOptions, key: str) -> str:
    """Start a build of a spec, once for a `key`, however often it is asked for. Returns the run's id in Prefect, 32 hex digits of which
    are its id in the ledger. Raises `SteeringError`."""
    wishes = options.model_dump(exclude_defaults=True)
    amounts = {
        name: float(value) if isinstance(value, Decimal) else value for name, value in wishes.items()
    }  # a form's are numbers
    parameters = {"spec": spec, "options": amounts}
    body = {"parameters": parameters, "idempotency_key": key}
    try:
        return str(server.ask(f"/deployments/{find_builder(server)}/create_flow_run", body, ANSWER_SECONDS)["id"])
    except HTTPError as error:
        raise SteeringError(f"the Prefect server starts no build: {error.read().decode(errors='replace')[:300]}") from error


def read_flow_run(server: PrefectServer, run_id: str) -> FlowRunState | None:
    """A run of the server; None where it has none with this id."""
    try:
        found = server.ask(f"/flow_runs/{run_id}")
    except HTTPError as error:
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
            return None
        raise SteeringError(f"the Prefect server fails with status {error.code}") from error
    return _read_flow_run(found)


def _read_flow_run(found: Mapping[str, Any]) -> FlowRunState:
    state = found["state"] or {}
    return FlowRunState(
        id=found["id"],
        name=found["name"],
        subject=str(found["parameters"].get("spec", "")),
        kind=state.get("type", "SCHEDULED"),
        state=state.get("name", "Scheduled"),
        message=state.get("message") or "",
        pause_key=str((state.get("state_details") or {}).get("pause_key") or ""),
        deployed=found["deployment_id"] is not None,
    )


def list_scheduled(server: PrefectServer) -> list[FlowRunState]:
    """Builds that wait for a worker now, the newest first; not those of a schedule that begin later. Raises `SteeringError`."""
    soon = (datetime.now(UTC) + SOON).isoformat()
    wait = {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}, "expected_start_time": {"before_": soon}}
    builds = {"flows": {"name": {"any_": [BUILD.partition("/")[0]]}}, "flow_runs": wait, "sort": "EXPECTED_START_TIME_DESC"}
    return [_read_flow_run(one) for one in server.ask_plainly("/flow_runs/filter", builds)]


def steer(server: PrefectServer, run_id: str, action: Action) -> None:
    """Pause, resume, cancel, approve or decline a run by its id in Prefect. Raises `SteeringError` where Prefect does not take it.

    A pause is Prefect's Suspend: the run ends what it has begun, and a worker takes it up again when it is resumed.
    """
    path, body = "resume", dict[str, Any]()
    match action:
        case "approve" | "decline":
            body = {"run_input": {"decision": action}}
        case "pause":
            details = {"pause_reschedule": True, "pause_timeout": None}
            path, body = "set_state", {"state": {"type": "PAUSED", "name": "Suspended", "state_details": details}}
        case "cancel":
            path, body = "set_state", {"state": {"type": "CANCELLING"}}
    try:
        answer = server.ask(f"/flow_runs/{run_id}/{path}", body, ANSWER_SECONDS)
    except HTTPError as error:
        raise SteeringError(f"Prefect does not {action} the run: status {error.code}") from error
    if answer["status"] != "ACCEPT":
        raise SteeringError(f"Prefect does not {action} the run: {(answer.get('details') or {}).get('reason')}")


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that waits: its id in Prefect, which is also the ledger's, its name, and what it asks."""

    id: str
    name: str
    question: str


def list_waiting(server: PrefectServer) -> list[WaitingRun]:
    """All runs that wait, the oldest first. Raises `SteeringError` where the server does not answer."""
    paused = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "sort": "EXPECTED_START_TIME_ASC"}
    return [
        WaitingRun(run["id"], run["name"], _read_question(server, run))
        for run in server.ask_plainly("/flow_runs/filter", paused, ANSWER_SECONDS)
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


def _read_question(server: PrefectServer, run: dict[str, Any]) -> str:
    key = run["state"]["state_details"]["run_input_keyset"]["description"]
    return str(server.ask_plainly(f"/flow_runs/{run['id']}/input/{key}"))
