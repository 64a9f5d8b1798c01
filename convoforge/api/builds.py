"""Routes that start builds through their Prefect deployment, follow runs, and steer them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.convertors import StringConvertor, register_url_convertor

from convoforge.api.bodies import Data
from convoforge.api.bounds import BoundedRoute
from convoforge.api.build_bodies import BuildBody, BuildRequest, show_build
from convoforge.api.conversations import EVERYWHERE, Generate, Key, Read, describe
from convoforge.api.idempotency import Keys, own_key
from convoforge.api.rendering import success
from convoforge.errors import ConfigError
from convoforge.orchestration.followed_runs import FollowedRun, list_followed, read_followed, start_followed, steer_followed
from convoforge.orchestration.steering import Action
from convoforge.runs.feed import make_events
from convoforge.viewer.state import Opened


class ActionWord(StringConvertor):
    """An action: another word there is not found."""

    regex = "|".join(get_args(Action))


register_url_convertor("action", ActionWord())
_KEYS = uuid.UUID("6f0d3c1e-5b0a-4c5e-9a35-2f1d6a1b7c11")
router = APIRouter(prefix="/api/builds", route_class=BoundedRoute, responses=EVERYWHERE)


@router.post(
    "", status_code=202, response_model=Data[BuildBody], responses=describe(400, 409, 413, 422, 503), dependencies=[Generate]
)
async def start(body: BuildRequest, request: Request, viewer: Opened, idempotency_key: Key = None) -> Response:
    """Start a build of a spec, which a worker of the Prefect server runs: 503 where none would. With an `Idempotency-Key` it is started
    once, however often it is sent."""

    async def work(name: str) -> tuple[Response, bool]:
        found = await viewer.run_asking(lambda one: start_followed(one.ledger, one.settings, body.spec, body.options, name))
        return success(Data(data=show_build(found)), 202, {"location": f"/api/builds/{found.id}"}), True

    keys: Keys | None = request.app.state.keys
    if idempotency_key is None:
        return (await work(uuid.uuid4().hex))[0]
    if keys is None:  # without a generator there are no keys here: Prefect knows this one
        return (await work(uuid.uuid5(_KEYS, own_key(request, idempotency_key)).hex))[0]
    return await keys.answer(request, idempotency_key, body.model_dump_json(), work)


@router.get("", dependencies=[Read])
async def builds(viewer: Opened, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Data[list[BuildBody]]:
    """The newest runs, without cells and incidents."""
    found = await viewer.run_asking(lambda one: list_followed(one.ledger, limit))
    return Data(data=[show_build(one) for one in found])


async def find(build_id: str, viewer: Opened) -> FollowedRun:
    """The run of a path. 404 where nobody knows it."""
    try:
        return await viewer.run_asking(lambda one: read_followed(one.ledger, build_id, steered=True))
    except ConfigError as error:
        raise HTTPException(404, str(error)) from None


@router.get("/{build_id:conversation}", dependencies=[Read])
async def build(found: Annotated[FollowedRun, Depends(find)]) -> Data[BuildBody]:
    """A run as it stands now."""
    return Data(data=show_build(found))


@router.get("/{build_id:conversation}/events", response_class=EventSourceResponse, dependencies=[Read])
async def events(
    found: Annotated[FollowedRun, Depends(find)],
    request: Request,
    viewer: Opened,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """A run as it goes on, as server-sent events: `run` with the run whenever it has changed, at most once a second, and `end` with its
    end. Whoever reconnects with `Last-Event-ID` gets what is new."""
    if request.scope.get("headers_only"):
        return
    async for kind, number, text in make_events(viewer.feed, found.id, last_event_id, _render):
        yield ServerSentEvent(event=kind, id=number, raw_data=text)


@router.post(
    "/{build_id:conversation}/{action:action}", status_code=202, responses=describe(400, 409, 503), dependencies=[Generate]
)
async def steer_build(action: Action, found: Annotated[FollowedRun, Depends(find)], viewer: Opened) -> Data[BuildBody]:
    """Pause, resume, cancel, approve or decline a run. `actions` of the run lists what can be done to it now; else 409. A run that is
    paused or cancelled ends the calls that it has begun, which takes seconds."""
    try:
        after = await viewer.run_asking(lambda one: steer_followed(one.ledger, found, action))
    except ConfigError as error:
        raise HTTPException(409, str(error)) from None
    return Data(data=show_build(after))


def _render(found: FollowedRun) -> str:
    return show_build(found).model_dump_json(by_alias=True)
