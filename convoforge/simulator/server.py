"""The simulator as a server: its routes, and what happens to one call from its arrival to its end.

Every answer is signed with the header `x-convoforge-simulator`. Latency counts from a call's arrival and is waited for by a timer,
so two hundred calls at once take no longer than one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiohttp import web

from convoforge.errors import ConfigError
from convoforge.rate import fingerprint
from convoforge.simulator import batches
from convoforge.simulator.answers import answer, billed, events, message
from convoforge.simulator.batches import SimulatedBatches
from convoforge.simulator.caching import SimulatedCache
from convoforge.simulator.catalogue import MODELS
from convoforge.simulator.faults import BATCHED, ERROR_IN_200, ERRORS, LINES, SPOILT, STREAMED, Fault, Odds, Script, read_fault
from convoforge.simulator.options import SimulatorOptions
from convoforge.simulator.rates import Rates
from convoforge.simulator.reading import ApiError, ParsedRequest, read_object, read_request
from convoforge.simulator.spoiling import page, spoilt
from convoforge.simulator.usage import Books
from convoforge.simulator.wire import SIGNATURE, authenticate, body_of, endpoint, error_response, json_response, key_of, send

BODY_BYTES = 32 * 1024 * 1024
SHUTDOWN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way: its row in the books it was entered in, and the headers of whatever will be answered."""

    request: web.Request
    key: str
    books: Books
    row: int
    arrived: float
    headers: dict[str, str]

    def gone(self) -> bool:
        """Whether the client has left."""
        return self.request.transport is None or self.request.transport.is_closing()


class Simulator:
    """The state behind the routes. `clock` and `wall` tell seconds: steady, and since 1970."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._wall = wall
        self._reset()

    def _reset(self) -> None:
        options = self._options
        self._random = random.Random(options.seed)
        self._books = Books(secrets.token_hex(4), self._wall() - self._clock())
        self._script = Script()
        self._odds = Odds(options.fault_rate, options.seed)
        self._cache = SimulatedCache()
        limits = (options.requests_per_minute, options.input_tokens_per_minute, options.output_tokens_per_minute)
        self._rates = Rates(limits, self._wall)
        self._models: dict[str, dict[str, Any]] = {}
        self._told: dict[str, Any] = {"inference_geo": options.inference_geo} if options.inference_geo else {}
        self._batches = SimulatedBatches(
            options, self._clock, self._wall, self._books, self._script, self._odds, self._cache, self._told
        )

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes([
            web.post("/v1/messages", self.create),
            web.post("/v1/messages/count_tokens", endpoint(self.count_tokens)),
            *batches.routes(lambda: self._batches),
            web.get("/v1/models", endpoint(self.list_models)),
            web.get("/v1/models/{id}", endpoint(self.retrieve_model)),
            web.post("/_simulator/script", endpoint(self.script)),
            web.get("/_simulator/usage", endpoint(self.read_usage)),
            web.post("/_simulator/usage-fields", endpoint(self.set_usage_fields)),
            web.post("/_simulator/models/{id}", endpoint(self.model)),
            web.post("/_simulator/reset", endpoint(self.reset)),
            web.route("*", "/{path:.*}", endpoint(self.unknown)),
        ])  # fmt: skip
        return app

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/messages."""
        arrived, books, key = self._clock(), self._books, key_of(request)
        row = books.arrive(arrived, fingerprint(key))
        call = Call(request, key, books, row, arrived, {SIGNATURE: "1", "request-id": books.request_id(row)})
        try:
            authenticate(key)
            asked = read_request(await body_of(request), request.headers.get("anthropic-version"))
            return await self._reply(call, asked)
        except ApiError as error:
            books.settle(row, error.status, str(error.status))
            return error_response(error, call.headers)

    async def _reply(self, call: Call, asked: ParsedRequest) -> web.StreamResponse:
        model = asked.model.id
        reading = self._cache.read(asked, call.arrived)
        try:
            self._rates.admit(call.key, model, reading.usage.input_tokens + reading.usage.cache_write_tokens, call.arrived)
        finally:
            call.headers.update(self._rates.headers(call.key, model, call.arrived))
        fault = self._script.next(asked.prompt) or self._odds.draw(asked.key)
        if fault.kind in BATCHED or fault.kind in LINES or (fault.kind in STREAMED and not asked.stream):
            fault = Fault("529")
        call.headers.update(fault.headers)
        if fault.kind in ERRORS:
            raise ApiError.of(fault)
        if fault.page:
            response = page(fault, call.headers)
            call.books.settle(call.row, response.status, fault.kind)
            return response
        if fault.kind == ERROR_IN_200:
            call.books.settle(call.row, 200, fault.kind)
            body = ApiError(500, fault.message, kind=fault.type).body(call.headers["request-id"])
            return json_response(200, body, call.headers)

        said = replace(answer(asked, fault, self._options.seed), told=self._told)
        usage = billed(reading.usage, said, asked)
        left = True
        try:
            await self._latency(call.arrived)
            left = call.gone()
        finally:  # a client that left meanwhile is charged all the same
            now = self._clock()
            self._cache.keep(reading.writes, now)
            if fault.kind not in ("html", "stream_error"):
                self._rates.answered(call.key, model, usage.output_tokens, now)
                delivered = not left and fault.kind not in ("reset", "hang", "broken_json", "stream_end")
                call.books.bill(call.row, model, usage, delivered=delivered)
            unanswered = left or fault.kind == "hang"
            call.books.settle(call.row, 0 if unanswered else 200, "left" if left and fault.kind == "ok" else fault.kind)

        whole = (call.books.message_id(call.row), model, said, usage)
        if fault.kind in SPOILT or fault.fields or fault.without:
            return spoilt(fault, {**message(*whole), **fault.fields}, call.headers)
        chunks = events(*whole) if asked.stream else [orjson.dumps(message(*whole))]
        return await send(call.request, call.headers, fault.kind, chunks)

    async def _latency(self, arrived: float) -> None:
        options = self._options
        if options.latency_ms or options.jitter_ms:
            latency = options.latency_ms + options.jitter_ms * (2 * self._random.random() - 1)
            await asyncio.sleep(max(0.0, arrived + latency / 1000 - self._clock()))

    async def count_tokens(self, request: web.Request) -> dict[str, Any]:
        """POST /v1/messages/count_tokens."""
        authenticate(key_of(request))
        asked = read_request(await body_of(request), request.headers.get("anthropic-version"), counting=True)
        return {"input_tokens": asked.input_tokens}

    async def list_models(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/models: all of them on one page."""
        authenticate(key_of(request))
        models = [model.info() for model in MODELS.values()]
        return {"data": models, "has_more": False, "first_id": models[0]["id"], "last_id": models[-1]["id"]}

    async def retrieve_model(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/models/{id}."""
        authenticate(key_of(request))
        name = request.match_info["id"]
        if name not in MODELS:
            raise ApiError(404, f"model: {name}")
        return {**MODELS[name].info(), **self._models.get(name, {})}

    async def script(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/script: `{"faults": ["529", "ok", {"kind": "429", "retry_after": 2}], "match": null, "on": null}`.

        `"clear": true` forgets what was scripted before.
        """
        try:
            told = orjson.loads(await body_of(request))
            if told.get("clear"):
                self._script.clear()
            self._script.add([read_fault(fault) for fault in told["faults"]], told.get("match"), told.get("on"))
        except (ConfigError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ApiError(400, f"cannot read the script: {error}") from None
        return {"pending": self._script.pending}

    async def read_usage(self, request: web.Request) -> dict[str, Any]:
        """GET /_simulator/usage; with `?requests=1` every request too, as `rows`."""
        rows = {"rows": self._books.rows()} if request.query.get("requests") == "1" else {}
        return self._books.totals() | rows

    async def set_usage_fields(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/usage-fields: what each answer's usage says from now on, beside the tokens or in their place."""
        self._told.update(read_object(await body_of(request)))
        return dict(self._told)

    async def model(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/models/{id}: what `GET /v1/models/{id}` says from now on, in the place of these fields."""
        self._models[request.match_info["id"]] = read_object(await body_of(request))
        return {}

    async def reset(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/reset: as just started, nothing scripted, booked, cached or used up, and no batches."""
        self._reset()
        return {}

    async def unknown(self, request: web.Request) -> dict[str, Any]:
        """Anything else."""
        raise ApiError(404, f"Not found: {request.method} {request.path}")


def serve(options: SimulatorOptions) -> None:
    """Run a simulator until SIGINT or SIGTERM; prints `{"url": …}` once it listens. Raises ConfigError where it cannot listen."""
    asyncio.run(_serve(options))


async def _serve(options: SimulatorOptions) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def stdin_moved() -> None:
        if not os.read(sys.stdin.fileno(), 65536):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    if options.until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stdin_moved)
    simulator = Simulator(options, loop.time, time.time)
    runner = web.AppRunner(simulator.application(), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, options.host, options.port, backlog=1024).start()
        except OSError as error:
            where = f"{options.host}:{options.port}"
            raise ConfigError(f"the simulator cannot listen on {where} ({error.strerror}): choose another port, or 0.") from None
        host, port = runner.addresses[0][:2]
        gc.freeze()  # the phrases are never garbage: not looking at them again saves CPU
        print(json.dumps({"url": f"http://{f'[{host}]' if ':' in host else host}:{port}"}), flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
