"""HTTP's own methods: HEAD for every GET, OPTIONS everywhere, and a 405 that lists a path's methods."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Methods:
    """Answers HEAD like GET without the body, and OPTIONS with the path's methods."""

    def __init__(self, app: ASGIApp, routes: FastAPI) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and "GET" in allowed(self._routes, scope["path"]):
            inner = {**scope, "method": "GET", "headers_only": True}
            await self._app(inner, receive, _without_body(send, inner, scope))
        elif scope["type"] == "http" and scope["method"] == "OPTIONS" and (methods := allowed(self._routes, scope["path"])):
            await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", ", ".join(methods).encode())]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


def allowed(app: FastAPI, path: str) -> list[str]:
    """The methods that a path takes; empty if there is no such path."""
    found: set[str] = set()
    for method in ("GET", "POST"):
        scope: Scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
        if any(route.matches(dict(scope))[0] is Match.FULL for route in app.routes):
            found.add(method)
    if "GET" in found:
        found.add("HEAD")
    return sorted(found | {"OPTIONS"}) if found else []


def _without_body(send: Send, inner: Scope, outer: Scope) -> Send:
    """Sends no body; and tells those who count and record the request which route answers it."""

    async def bare(message: Message) -> None:
        outer.update({key: inner[key] for key in ("route", "path_params") if key in inner})
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return bare
