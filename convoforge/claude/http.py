"""The SDK's aiohttp client, with our limits, certificates and proxy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from httpx_aiohttp.httpx2 import AiohttpTransport

from convoforge.errors import FatalAPIError

MAX_LINE = 16 * 1024 * 1024
"""Maximum bytes of a line that is streamed: a hundred times the longest answer."""

_CONNECT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}
_MAX_CONNECTIONS = 1_000
"""Maximum number of connections: the SDK's own default."""

_MAX_HEADER_BYTES = 65_536
"""Maximum bytes of a status line or a header field. aiohttp's 8,190 are too few for some proxies."""

_IDLE_SECONDS = 5.0
"""Seconds to keep an idle connection, as the SDK does: short, so that no call uses one that the server is just closing."""


def make_http_client(read_root: Callable[[], str], *, secure: bool) -> httpx2.AsyncClient:
    """Make an HTTP client for the SDK. `read_root` returns the server's URL at the first call. `secure`: the URL may be HTTPS.

    Redirects are not followed, so that a key reaches no server but the one it was given for. The transport is the SDK's own; it
    is created here because there is no other way to give it a session with our limits.
    """
    import anthropic

    # certificates as the SDK loads them, which takes 50 ms: skipped for a server without TLS
    tls: ssl.SSLContext | bool = httpx2.create_ssl_context() if secure else False

    def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            proxy=find_proxy(read_root()),
        )

    return anthropic.DefaultAioHttpClient(transport=AiohttpTransport(verify=tls, client=open_session), follow_redirects=False)


def make_timeout(seconds: float, *, read: float | None = None) -> httpx2.Timeout:
    """The SDK's timeouts for calls that may take `seconds`: to connect, and between two chunks of an answer. The caller limits
    the time of the whole call, as no HTTP client does that."""
    return httpx2.Timeout(None, connect=min(_CONNECT_SECONDS, seconds / 2), read=read)


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Split bytes at line feeds, which are kept. Other line separators do not split: they may occur inside JSON. A line longer
    than `MAX_LINE` is cut, so that no server can fill the memory."""
    rest = bytearray()
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for one in whole:
            rest += one[: MAX_LINE - len(rest)]
            yield bytes(rest) + b"\n"
            rest = bytearray()
        rest += last[: MAX_LINE - len(rest)]
    if rest:
        yield bytes(rest)


def find_proxy(root: str) -> str | None:
    """The proxy that the environment sets for an address; None for loopback addresses."""
    parts = urlsplit(root)
    if is_loopback(root) or proxy_bypass(parts.netloc):
        return None
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def check_reachable(root: str) -> None:
    """Raises `FatalAPIError` where nothing listens at an address. Where a proxy is in between, only the proxy could say."""
    parts = urlsplit(root)
    if find_proxy(root) is not None:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), _CONNECT_SECONDS).close()
    except OSError as error:
        why = error.strerror or error
        raise FatalAPIError(f"nothing answers at {root}: {why}. Check ANTHROPIC_BASE_URL", kind="unreachable") from None


def is_loopback(url: str) -> bool:
    """Whether an address is a loopback address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
