"""The simulator as a server: routes, and what happens to one call from its arrival to its end.

Every answer is signed with the header `x-convoforge-simulator`. A time of arrival is taken first and latency counts from it; waiting
is a timer, so two hundred calls at once cost no more than one after the other.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import orjson
from aiohttp import web

from convoforge.errors import ConfigError
from convoforge.gate import fingerprint
from convoforge.models import Usage
from convoforge.simulator.answers import answer, billed, event, events, message
from convoforge.simulator.books import Books
from convoforge.simulator.caching import PromptCache
from convoforge.simulator.catalogue import MODELS
from convoforge.simulator.faults import ERRORS, Fault, Odds, Script, read_fault
from convoforge.simulator.options import SimulatorOptions
from convoforge.simulator.rates import Rates
from convoforge.simulator.reading import ApiError, Asked, read_request

SIGNATURE = {"x-convoforge-simulator": "1"}
WRONG_KEYS = "sk-sim-wrong"
"""Keys that begin like this are refused."""

BODY_BYTES = 32 * 1024 * 1024
HTML = "<!doctype html><html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way: its row in the books it was entered in, and the headers of whatever is answered."""

    books: Books
    row: int
    arrived: float
    headers: dict[str, str]


class Simulator:
    """The state behind the routes. `clock` and `wall` tell seconds, steady and since 1970."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._wall = wall
        self._jitter = random.Random(options.seed)
        self._fingerprints: dict[str, str] = {}
        self.reset()

    def reset(self) -> None:
        """As just started: nothing scripted, booked, cached or used up."""
        options = self._options
        self._books = Books(secrets.token_hex(4), self._wall() - self._clock())
        self._script = Script()
        self._odds = Odds(options.fault_rate, options.seed)
        self._cache = PromptCache()
        limits = (options.requests_per_minute, options.input_tokens_per_minute, options.output_tokens_per_minute)
        self._rates = Rates(limits, self._wall)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes([
            web.post("/v1/messages", self.create),
            web.post("/v1/messages/count_tokens", self._endpoint(self.count)),
            web.get("/v1/models", self._endpoint(self.models)),
            web.get("/v1/models/{id}", self._endpoint(self.model)),
            web.post("/_simulator/script", self._endpoint(self.script)),
            web.get("/_simulator/books", self._endpoint(self.books)),
            web.post("/_simulator/reset", self._endpoint(self.start_over)),
            web.route("*", "/{anything:.*}", self._endpoint(self.unknown)),
        ])  # fmt: skip
        return app

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/messages."""
        arrived = self._clock()
        key = self._key(request)
        books = self._books
        row = books.arrive(arrived, self._fingerprint(key))
        call = Call(books, row, arrived, {**SIGNATURE, "request-id": books.request_id(row)})
        try:
            authenticate(key)
            asked = read_request(await body_of(request), request.headers.get("anthropic-version"))
            return await self._converse(call, asked, key, request)
        except ApiError as error:
            books.settle(row, error.status, str(error.status))
            return error_response(error, call.headers)

    async def _converse(self, call: Call, asked: Asked, key: str, request: web.Request) -> web.StreamResponse:
        model = asked.model.id
        reading = self._cache.read(asked, call.arrived)
        try:
            self._rates.admit(key, model, reading.usage.input_tokens + reading.usage.cache_write_tokens, call.arrived)
        finally:
            call.headers.update(self._rates.headers(key, model, call.arrived))
        fault = self._script.next(asked.prompt) or self._odds.draw(asked.key)
        if fault.kind in ("stream_error", "stream_end") and not asked.stream:
            fault = Fault("529")
        if fault.kind in ERRORS:
            raise ApiError(int(fault.kind), retry_after=fault.retry_after, error_code=fault.error_code)
        said = answer(asked, fault, self._options.seed)
        usage = billed(reading.usage, said, asked.max_tokens)
        delivered = fault.kind not in ("reset", "hang", "broken_json", "stream_end")
        try:
            await self._latency(call.arrived)
            delivered = delivered and request.transport is not None and not request.transport.is_closing()
        except asyncio.CancelledError:  # the client left; the answer is written, and charged, all the same
            delivered = False
            raise
        finally:
            now = self._clock()
            self._cache.keep(reading.writes, now)
            if fault.kind not in ("html", "stream_error"):
                self._rates.answered(key, model, usage.output_tokens, now)
                call.books.bill(call.row, model, usage, delivered=delivered)
            outcome = "left" if fault.kind == "ok" and not delivered else fault.kind
            call.books.settle(call.row, 0 if outcome in ("left", "hang") else 200, outcome)
        return await self._send(call, asked, fault, events if asked.stream else None, message_id(call), said, usage, request)
