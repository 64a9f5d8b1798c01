"""Access control: the Host header, the token, its scopes, and the web page that a browser's request comes from.

Every request has `request.state.who` (the name of its token, "local" on a server without tokens, "" where a path needs none) and
`request.state.scopes`. A route says with `requires` which scope it wants.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from convoforge.api.login import LOGIN, Logins
from convoforge.api.rendering import refusal
from convoforge.api.tokens import SCOPES, AccessScope, Token, find_token

OPEN_PATHS = frozenset({"/healthz", "/readyz", LOGIN})
"""Paths for a load balancer, which has no token and is shown less, and for a browser that has none yet."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


def requires(*scopes: AccessScope) -> Any:
    """A dependency of a route or router: the caller's token must have one of `scopes`. Else the response is 403."""

    def check(request: Request) -> None:
        if request.state.scopes.isdisjoint(scopes):
            raise HTTPException(403, f"this token may not do that: it needs the scope {' or '.join(scopes)}")

    return Depends(check)


class HostCheck:
    """Refuses requests whose Host header names another server: a web page whose name points at this address (DNS rebinding).

    On loopback, only loopback names are accepted. On another address, any literal IP address (never a web page's name) and this
    machine's name are. `also` are further names, given by a proxy or a name server.
    """

    def __init__(self, app: ASGIApp, also: Collection[str]) -> None:
        self._app = app
        self._also = frozenset(name.lower().rstrip(".") for name in also)
        self._own = frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_ours(Headers(scope=scope).getlist("host"), scope.get("server")):
            await self._app(scope, receive, send)
            return
        message = "this server does not go by the host that was asked for: name it with --allowed-host"
        await refusal(421, "MisdirectedRequest", message)(scope, receive, send)

    def _is_ours(self, hosts: list[str], server: tuple[str, int | None] | None) -> bool:
        if len(hosts) != 1:
            return False
        name = host_name(hosts[0])
        on_loopback = server is None or is_loopback(server[0])
        if name in self._also:
            return True
        if on_loopback:
            return name == "localhost" or is_loopback(name)
        return _address(name) is not None or name in self._own


class TextCheck:
    """Refuses paths and queries with a NUL character, which no text in PostgreSQL can hold."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            await refusal(400, "ValidationError", "the address holds a NUL character, %00: leave it out")(scope, receive, send)
            return
        await self._app(scope, receive, send)


class TokenCheck:
    """Finds out who sends a request, by the header `Authorization: Bearer TOKEN` or a browser's login. Refuses everybody else, if
    there are tokens; a browser that wants a page is sent to the login."""

    def __init__(self, app: ASGIApp, tokens: Sequence[Token], logins: Logins) -> None:
        self._app = app
        self._tokens = tokens
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            token = self._find(scope, headers)
            known = {"who": token.name, "scopes": token.scopes} if token else {"who": "", "scopes": frozenset()}
            if not self._tokens:
                known = {"who": "local", "scopes": SCOPES}
            scope.setdefault("state", {}).update(known, trusted=bool(known["who"]))
            path = scope["path"]
            if not known["who"] and path not in OPEN_PATHS and not path.startswith("/static/"):
                await _unknown(scope, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _find(self, scope: Scope, headers: Headers) -> Token | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme:
            return find_token(self._tokens, given.strip().encode("latin-1", "replace")) if scheme.lower() == "bearer" else None
        return self._logins.find(Request(scope))


class OriginCheck:
    """Refuses what a web page of another server makes a browser send, with its login or to a server without tokens (CSRF).

    Browsers say where a request comes from in `Sec-Fetch-Site`, old ones and those on plain HTTP in `Origin`; programs say
    nothing. A request with an `Authorization` header is never a browser's own doing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and is_foreign(Headers(scope=scope)):
            message = "a web page of another server may not send this: use this server's own pages, or a token"
            await refusal(403, "Forbidden", message)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_foreign(headers: Headers) -> bool:
    """Whether a browser sends this for a page of another server."""
    if "authorization" in headers:
        return False
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _unknown(scope: Scope, headers: Headers) -> ASGIApp:
    if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        query = scope["query_string"].decode("latin-1")
        return RedirectResponse(f"{LOGIN}?next={quote(scope['path'] + (f'?{query}' if query else ''))}", 303)
    message = "send the header `Authorization: Bearer TOKEN`, with the token of this server"
    return refusal(401, "Unauthorized", message, {"www-authenticate": 'Bearer realm="convoforge"'})


def host_name(host: str) -> str:
    """The name in a Host header in lower case, without port; an IPv6 address without brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether `host` is a loopback address or `localhost`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
