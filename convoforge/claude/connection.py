"""The connections to one server: a request goes out, an answer of any status comes back, or an error says why there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

from convoforge.claude.errors import lost

_CONNECT_SECONDS = 10.0
_MOST = 1_000  # connections, as many as the SDK keeps
_HEADER_BYTES = 65_536  # a line or a field of an answer's head; aiohttp's 8,190 are too few for some proxies, the SDK reads more
MAX_LINE = 16 * 1024 * 1024  # bytes of a line that is streamed: a hundred times the longest answer
_IDLE_SECONDS = 5.0  # as the SDK: a server closes an idle connection sooner or later, and a call must not meet that moment


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server said: `headers` by their names in lower case, the `body` as it was before it was compressed. The body of a streamed
    answer is empty: it is still to come."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300


class Connection:
    """Any number of calls to the server at `root`, an address with a slash at its end. Made inside a running event loop; close it.

    It is aiohttp's client and not the SDK's, which works through a second client on top of aiohttp: two thirds of a call's CPU.
    Redirects are not followed: a key goes to no other server than the one it was given for. `seconds` is how long a call may take from its
    beginning to its end. `secrets` are in no error's text. Whatever keeps an answer away is raised as a `TransientError`.
    """

    def __init__(self, root: str, *, seconds: float, secrets: tuple[str, ...] = ()) -> None:
        self._root = root
        self._seconds = seconds
        self._secrets = secrets
        parts = urlsplit(root)
        self._where = f"{parts.scheme}://{parts.netloc}"
        # certificates as the SDK reads them; 50 ms that a server without them does not cost
        tls = httpx2.create_ssl_context() if parts.scheme == "https" else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST, keepalive_timeout=_IDLE_SECONDS, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            proxy=proxy_for(root),
        )
        self._usual = self._limit(seconds)

    def _limit(self, seconds: float | None, *, between: float | None = None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_SECONDS, self._seconds / 2), sock_read=between)

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None, seconds: float | None = None
    ) -> HttpAnswer:
        """The whole answer to one request."""
        limit = self._limit(seconds) if seconds else self._usual
        try:
            async with self._session.request(
                method, self._root + path, headers=headers, data=content, timeout=limit, allow_redirects=False
            ) as response:
                return HttpAnswer(response.status, _headers(response), await response.read())
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self._where, self._secrets) from None

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[tuple[HttpAnswer, AsyncIterator[bytes]]]:
        """An answer with its lines as they come, however long that takes, so long as it does not stop; of one that did not succeed
        the whole, and no lines."""
        limit = self._limit(None, between=self._seconds)
        try:
            async with self._session.get(self._root + path, headers=headers, timeout=limit, allow_redirects=False) as response:
                body = b"" if response.ok else await response.read()
                yield HttpAnswer(response.status, _headers(response), body), _lines(response.content)
        except (aiohttp.ClientError, OSError) as error:
            raise lost(error, self._where, self._secrets) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Latin-1, as HTTP has it: any byte is a letter, which aiohttp's own texts may not be, and a ledger takes."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.raw_headers}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to `MAX_LINE`, with their line feed: aiohttp's own end at 128 kB, and text has other ends of lines, which
    may stand in the midst of JSON. What is longer is cut, so that no server fills the memory."""
    rest = bytearray()
    async for chunk in content.iter_any():
        *whole, last = chunk.split(b"\n")
        for one in whole:
            rest += one[: MAX_LINE - len(rest)]
            yield bytes(rest) + b"\n"
            rest = bytearray()
        rest += last[: MAX_LINE - len(rest)]
    if rest:
        yield bytes(rest)


def proxy_for(root: str) -> str | None:
    """The proxy that the environment names for an address: to oneself one goes by none."""
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
