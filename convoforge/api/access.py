"""Access control: checks the Host header and the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from convoforge.api.rendering import refusal

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths for a load balancer, which has no token; without a token they show less."""


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


class TokenCheck:
    """Refuses requests without one of `tokens`, if there are any. The comparison takes the same time for every wrong token."""

    def __init__(self, app: ASGIApp, tokens: Collection[str]) -> None:
        self._app = app
        self._digests = [_digest(token.encode()) for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["trusted"] = trusted = self._is_known(Headers(scope=scope).get("authorization", ""))
            if not trusted and scope["path"] not in OPEN_PATHS:
                message = "send the header `Authorization: Bearer TOKEN`, with the token of this server"
                headers = {"www-authenticate": 'Bearer realm="convoforge"'}
                await refusal(401, "Unauthorized", message, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_known(self, header: str) -> bool:
        if not self._digests:
            return True
        scheme, _, token = header.partition(" ")
        given = _digest(token.strip().encode("latin-1", "replace"))
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(found)


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


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
