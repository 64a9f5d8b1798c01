"""Pages of runs: the list, one run as it goes on, and what can be done to it. Starting one: `start_run`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from convoforge.errors import ConfigError, SteeringError
from convoforge.orchestration.followed_runs import FollowedRun, list_followed, read_followed, steer_followed
from convoforge.orchestration.steering import Action, find_prefect
from convoforge.runs.feed import make_events
from convoforge.viewer.pages import fragment, page
from convoforge.viewer.state import Opened, Viewer

LISTED = 50
"""Number of the newest runs in the list."""

router = APIRouter(include_in_schema=False)
steering = APIRouter(include_in_schema=False)


@router.get("/runs")
async def show_runs(request: Request, viewer: Opened) -> HTMLResponse:
    """The newest runs; a script keeps them up to date while one goes on."""
    rows = await viewer.run_asking(lambda opened: list_followed(opened.ledger, LISTED))
    return page(request, "runs.html.jinja", section="runs", rows=rows)


async def find_run(run: str, viewer: Opened) -> FollowedRun:
    """The run of a path. 404 where nobody knows it."""
    try:
        return await viewer.run_asking(_read, run)
    except ConfigError as error:
        raise HTTPException(404, str(error)) from None


@router.get("/runs/{run}")
async def show_run(request: Request, found: Annotated[FollowedRun, Depends(find_run)]) -> HTMLResponse:
    """One run as it stands now; a script keeps it up to date."""
    return page(request, "run.html.jinja", section="runs", one=found, trouble=None if found.flow_run else _find_trouble(found))


@router.get("/runs/{run}/events", response_class=EventSourceResponse)
async def follow_run(
    found: Annotated[FollowedRun, Depends(find_run)],
    request: Request,
    viewer: Opened,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """What changes on the page of a run, as server-sent events."""
    if request.scope.get("headers_only"):
        return
    async for kind, number, text in make_events(viewer.feed, found.id, last_event_id, _render):
        yield ServerSentEvent(event=kind, id=number, raw_data=text)


@steering.post("/runs/{run}/{action}")
async def steer_run(action: Action, found: Annotated[FollowedRun, Depends(find_run)], viewer: Opened) -> RedirectResponse:
    """Do something to a run, and show it again."""
    try:
        await viewer.run_asking(lambda opened: steer_followed(opened.ledger, found, action))
    except ConfigError as error:
        raise HTTPException(409, str(error)) from None
    return RedirectResponse(f"/runs/{found.id}", 303)


def _read(viewer: Viewer, run: str) -> FollowedRun:
    return read_followed(viewer.ledger, run, steered=True)


def _render(found: FollowedRun) -> str:
    return fragment("run_live.html.jinja", one=found)


def _find_trouble(found: FollowedRun) -> str | None:
    """Why nothing can be done to a run that goes on or waits; None where nothing is to be done."""
    if not found.goes_on and found.state not in ("waiting", "partial"):
        return None
    if found.seen is not None and found.seen.run.row.flow_run_id is None:
        return "it belongs to the server or command that began it: stop that one"
    try:
        find_prefect()
    except SteeringError as error:
        return str(error)
    return "the Prefect server does not know this run: it was begun with another one"
