"""The application: its routes, the generator behind them, and its error responses.

If `settings` hold API tokens, every request needs one, with the scope that its route requires. Without tokens, listen on loopback only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoforge import telemetry
from convoforge.api import audit, builds, conversations, datasets, estimates, login, operations, prometheus, reviews
from convoforge.api.access import HostCheck, OriginCheck, TextCheck, TokenCheck, requires
from convoforge.api.bodies import Data
from convoforge.api.bounds import body_of, query_of
from convoforge.api.docs import DescribedApp, docs
from convoforge.api.errors import hidden_in, refuse
from convoforge.api.headers import SECURITY_HEADERS, SecurityHeaders
from convoforge.api.idempotency import Keys
from convoforge.api.login import Logins
from convoforge.api.methods import Methods, allowed
from convoforge.api.python import choose_limiter
from convoforge.api.rendering import failure, refusal, show_error
from convoforge.api.tokens import read_tokens
from convoforge.errors import ConvoforgeError
from convoforge.generation.requests import open_generator
from convoforge.planning.spec import DatasetSpec
from convoforge.settings import Settings
from convoforge.viewer.assets import router as assets
from convoforge.viewer.routes import PAGES
from convoforge.viewer.state import open_viewer

BODY_BYTES = 1_000_000

ROUTES = tuple(
    room.router for room in (conversations, builds, operations, datasets, reviews, estimates, prometheus, audit, login)
)


def make_app(
    settings: Settings | None = None,
    *,
    spec: DatasetSpec | None = None,
    simulate: bool = False,
    allowed_hosts: Collection[str] = (),
) -> FastAPI:
    """Make the application. `spec` has model, limits, retries and budget; without it the seed's defaults apply (see
    `open_generator`). `allowed_hosts` are further names that callers use for this server.

    The generator opens when the server starts, which raises what `open_generator` raises, and drains when the server stops. Without an API
    key there is none: datasets can be looked at and reviewed, and whoever asks for more is told so.
    """
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_viewer(settings) as app.state.viewer, AsyncExitStack() as stack:
            app.state.ledger = app.state.viewer.ledger
            if simulate or settings.accounts:
                limiter = choose_limiter()
                opening = open_generator(settings=settings, spec=spec, simulate=simulate, open_limiter=limiter)
                app.state.generator = generator = await stack.enter_async_context(opening)
                app.state.ledger = generator.ledger
                generator.watch(metrics.note_call)
                app.state.keys = keys = Keys(generator)
                stack.push_async_callback(keys.finish)
                stack.callback(generator.stop, "the server is stopping")
            try:
                yield
            finally:
                await stack.aclose()
                await asyncio.to_thread(telemetry.flush)

    tokens, metrics = read_tokens(settings), prometheus.Metrics()
    app = DescribedApp(title="convoforge", version=version("convoforge"), lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.metrics, app.state.keys, app.state.generator = metrics, None, None
    app.state.hidden = hidden_in(settings)
    app.state.logins = logins = Logins(tokens)
    for routes in (*ROUTES, assets):
        app.include_router(routes)
    for scope, rooms in PAGES.items():
        for pages in rooms:
            app.include_router(pages, dependencies=[requires(scope)])
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(StarletteHTTPException, _unroutable)
    app.add_exception_handler(ConvoforgeError, _failed)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(BodyLimit, max_bytes=BODY_BYTES)
    app.add_middleware(Methods, routes=app)
    app.add_middleware(OriginCheck)
    app.add_middleware(TokenCheck, tokens=tokens, logins=logins)
    app.add_middleware(audit.Audit)
    app.add_middleware(TextCheck)
    app.add_middleware(HostCheck, also=allowed_hosts)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(prometheus.Measure, metrics=metrics)
    return app


class BodyLimit:
    """Refuses bodies larger than `max_bytes` while they arrive."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                raise HTTPException(413, f"the body is larger than {self._max_bytes} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


async def _failed(request: Request, error: Exception) -> JSONResponse:
    response = failure(request, error)
    response.headers.update(SECURITY_HEADERS)  # the response to an error that nothing handled passes no middleware
    return response


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    route = request.scope.get("route")
    return show_error(400, refuse(error.errors(), body_of(route) or query_of(route) or Data[None]))


async def _unroutable(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    name = {400: "ValidationError", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge"}.get(
        error.status_code, "HTTPError"
    )
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["allow"] = ", ".join(allowed(request.app, request.url.path))
    return refusal(error.status_code, name, str(error.detail), headers)
