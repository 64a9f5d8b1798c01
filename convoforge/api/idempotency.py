"""Idempotency keys: a request with a key is done and paid once, however often it is sent and whatever fails in between.

The work continues when its caller leaves: with a key, the caller can ask for it again. Its requests have fixed names, so that
after a crash the answered ones are found and only the rest is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request, Response

from convoforge.api.rendering import failure, refusal
from convoforge.errors import LedgerError
from convoforge.generation.requests import RequestGenerator

MAX_LETTERS = 255
"""Maximum characters of a key."""

_LOG = logging.getLogger(__name__)

Work = Callable[[str], Awaitable[tuple[Response, bool]]]
"""Does the work under a name. Returns the response, and whether it is final: sending the request again would not change it."""


class Keys:
    """The keys of one server: requests in progress are in this process, finished ones in the ledger."""

    def __init__(self, generator: RequestGenerator) -> None:
        self._generator = generator
        self._under_way: dict[str, asyncio.Task[Response]] = {}

    async def answer(self, request: Request, key: str, body: str, work: Work) -> Response:
        """The response to a request with `key`: the stored one, that of the same request in progress, or a new one."""
        name = _digest(f"{self._generator.model_provider}\n{own_key(request, key)}")
        fingerprint = _digest(f"{request.url.path}\n{body}")
        known = await self._generator.take_key(name, fingerprint)
        if known.fingerprint != fingerprint:
            message = "Idempotency-Key: this key was used for another request: take a new one for each"
            return refusal(422, "IdempotencyError", message)
        if known.taken:
            message = "Idempotency-Key: another process works on the request with this key"
            return refusal(409, "IdempotencyError", message, {"retry-after": "5"})
        if known.status is not None and known.response is not None:
            headers = {"idempotent-replayed": "true"}
            return Response(known.response.encode(), known.status, headers, media_type="application/json")
        if name not in self._under_way:
            task = asyncio.create_task(self._do(request, name, known.nonce, work))
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(self._under_way[name])

    async def _do(self, request: Request, name: str, nonce: str, work: Work) -> Response:
        final = False
        try:
            response, final = await work(nonce)
        except Exception as error:  # noqa: BLE001 - as in the routes
            response = failure(request, error)
        stored = (response.status_code, bytes(response.body).decode()) if final else (None, None)
        try:
            await self._generator.end_key(name, *stored)
        except LedgerError as error:
            _LOG.error("the response to an Idempotency-Key could not be kept: %s", error)
        return response

    async def finish(self) -> None:
        """Wait until no request is in progress."""
        while self._under_way:
            await asyncio.wait(set(self._under_way.values()))


def own_key(request: Request, key: str) -> str:
    """The key with the name of its token: nobody is answered with what another token's key has made. Raises `HTTPException` (400)."""
    if not 1 <= len(key) <= MAX_LETTERS or not key.isprintable():
        raise HTTPException(400, f"Idempotency-Key: give 1 to {MAX_LETTERS} printable characters")
    return key if request.state.who == "local" else f"{request.state.who}\n{key}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
