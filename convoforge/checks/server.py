"""The Prefect server: whether one runs and fits, what its log says, whether schedules really have a next run, who works, who is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import psutil

from convoforge.finding import Finding, bad, good, warning
from convoforge.orchestration.schedules import Schedule, read_schedules
from convoforge.orchestration.server_api import admits, ask, speaks
from convoforge.orchestration.server_home import AUTH, URL, find_access, log_path, prefect_home, read_note
from convoforge.orchestration.server_log import summarize_errors

NAME = "Prefect server"
POOL = "convoforge"
LATE = timedelta(minutes=5)


def check_server(now: datetime) -> Iterator[Finding]:
    """The server that a build would use, and all that hangs on it. None is started."""
    access = {**os.environ, **find_access(os.environ)}
    url, auth = access.get(URL, "").rstrip("/"), access.get(AUTH)
    if not url:
        yield warning(
            NAME, "none runs: a build starts one, which schedules need all the time", "make up, for schedules and the UI"
        )
        return
    if not speaks(url):
        yield bad(NAME, f"none answers at PREFECT_API_URL={url}", "start it, or unset the variable: then a build starts one")
        return
    if not admits(url, auth):
        yield bad(NAME, f"{url} does not take our auth string", "set PREFECT_API_AUTH_STRING to the server's own")
        return
    yield from _check_itself(url, auth)
    schedules = read_schedules(url, auth)
    yield from _check_schedules(schedules, now)
    yield from _check_workers(url, auth, needed=any(one.active for one in schedules))
    yield from _check_alerts(url, auth)


def _check_itself(url: str, auth: str | None) -> Iterator[Finding]:
    found, ours = str(ask(url, auth, "/admin/version")), version("prefect")
    if found.split(".")[:2] == ours.split(".")[:2]:
        yield good(NAME, f"{url.removesuffix('/api')}, Prefect {found}")
    else:
        yield warning(NAME, f"{url} is Prefect {found}, and this one is {ours}", "let both have the same version")
    if admits(url, None):
        yield warning(
            NAME,
            "it answers everybody: a web page in a browser here, or who else reaches it, can start runs, which run commands",
            "give it PREFECT_SERVER_API_AUTH_STRING; make up and builds start closed ones",
        )
    server = read_note(prefect_home())
    if server is not None and server.url == url:
        trouble = summarize_errors(log_path(prefect_home()), server.log_start)
        if trouble:
            yield bad("server's log", trouble, "read it there; make down and make up start the server anew")
        else:
            yield good("server's log", "no error since the server was started")
    elif urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
        yield good("server's log", "is on the server's machine, and is not read from here")


def _check_schedules(schedules: Sequence[Schedule], now: datetime) -> Iterator[Finding]:
    if not schedules:
        yield warning("schedules", "the server has none", "make up registers them, or: prefect deploy --all")
    for one in schedules:
        if not one.active:
            yield warning("schedules", f"{one.name} is paused", "prefect deployment schedule resume --all")
        elif one.next_run is None:
            yield bad(
                "schedules",
                f"{one.name} has no next run",
                "the server's scheduler does not work: see its log, and versions above",
            )
        elif one.next_run < now - LATE:
            late = f"{one.name} was due at {one.next_run:%Y-%m-%d %H:%M} UTC and has not begun"
            yield bad("schedules", late, "see the worker below; a paused work pool or another run of it holds it back, too")
        else:
            yield good("schedules", f"{one.name} runs next at {one.next_run:%Y-%m-%d %H:%M} UTC")


def _check_workers(url: str, auth: str | None, *, needed: bool) -> Iterator[Finding]:
    nobody = bad if needed else warning
    try:
        pool = ask(url, auth, f"/work_pools/{POOL}")
    except HTTPError as error:
        if error.code != 404:
            raise
        yield nobody("worker", f"the server has no work pool {POOL!r}", "make up, or deployments/README.md by hand")
        return
    if pool["is_paused"]:
        yield nobody("worker", f"the work pool {POOL!r} is paused: nothing begins", f"prefect work-pool resume {POOL}")
    online = [one for one in ask(url, auth, f"/work_pools/{POOL}/workers/filter", {}) if one["status"] == "ONLINE"]
    if not online:
        yield nobody("worker", "none is online: scheduled runs stay Late", f"make up, or: prefect worker start --pool {POOL}")
        return
    yield good("worker", f"{len(online)} online: {', '.join(sorted(one['name'] for one in online))}")
    if needed and (environment := _read_local_worker()) is not None and not _has_account(environment):
        yield bad(
            "worker", "the worker of this machine has no API key, so real runs fail", "set ANTHROPIC_API_KEY, then: make up"
        )


def _check_alerts(url: str, auth: str | None) -> Iterator[Finding]:
    body = {"automations": {"name": {"any_": ["convoforge-ended-badly", "convoforge-budget"]}}}
    enabled = {one["name"] for one in ask(url, auth, "/automations/filter", body) if one["enabled"] and not _tells_nobody(one)}
    if len(enabled) == 2:
        yield good("alerts", "somebody is told of budgets and of runs that end badly")
    else:
        yield warning("alerts", "nobody is told when a run fails or a budget is used up", "make alerts WEBHOOK=…")


def _tells_nobody(automation: dict[str, Any]) -> bool:
    return any(str(action.get("block_document_id", "")).startswith("00000000-") for action in automation["actions"])


def _read_local_worker() -> dict[str, str] | None:
    """The environment of the worker that `make up` started here, if it runs."""
    for worker in psutil.process_iter():
        try:
            if {"worker", "start", POOL} <= set(worker.cmdline()) and worker.uids().real == os.getuid():
                environment = worker.environ()
                if environment.get("PREFECT_HOME", "") == os.environ.get("PREFECT_HOME", ""):
                    return environment
        except psutil.Error:
            continue
    return None


def _has_account(environment: dict[str, str]) -> bool:
    from convoforge.project import find_project

    project = find_project()
    noted = project and (project / ".env").exists() and "ANTHROPIC_API_KEY=" in (project / ".env").read_text()
    return bool(environment.get("ANTHROPIC_API_KEY") or environment.get("CONVOFORGE_API", "anthropic") != "anthropic" or noted)
