"""How the SDK reaches a server: its aiohttp client, with the limits, the certificates and the proxy that calls need."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anthropic
import httpx2
from httpx_aiohttp.httpx2 import AiohttpTransport

MAX_LINE = 16 * 1024 * 1024
"""Maximum bytes of a line that is streamed: a hundred times the longest answer."""

_CONNECT_SECONDS = 10.0
_MAX_CONNECTIONS = 1_000
"""As many as the SDK keeps."""

_MAX_HEADER_BYTES = 65_536
"""Maximum bytes of a line or a field of an answer's head. aiohttp's 8,190 are too few for some proxies."""

_IDLE_SECONDS = 5.0
"""Seconds to keep an idle connection, as the SDK does: a server closes it sooner or later, and a call must not meet that moment."""


def make_http_client(read_root: Callable[[], str], *, secure: bool) -> httpx2.AsyncClient:
    """A client for the SDK. `read_root` is asked for the server's address at the first call. `secure`: that address may be HTTPS.

    Redirects are not followed: a key goes to no other server than the one it was given for. The transport is the one that the SDK
    uses itself. It is named here because only so a session with other limits can be handed to it.
    """
    # certificates as the SDK reads them: 50 ms that a server without TLS does not cost
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
    """The SDK's timeout for calls that may take `seconds`: to connect, and between two pieces of an answer. The time of a whole call
    is limited by who makes it, as no HTTP client counts that."""
    return httpx2.Timeout(None, connect=min(_CONNECT_SECONDS, seconds / 2), read=read)


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of any length up to `MAX_LINE`, with their line feed. Text has other ends of lines, which may stand in the midst of JSON:
    they end none. What is longer is cut, so that no server fills the memory."""
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
    """The proxy that the environment names for an address. This machine's own addresses need none."""
    parts = urlsplit(root)
    if is_loopback(root) or proxy_bypass(parts.netloc):
        return None
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
