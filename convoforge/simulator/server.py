"""The simulator's server: its routes, and the handling of one call from arrival to end.

Every answer has the header `x-convoforge-simulator`. Latency is a timer that starts when a call arrives, so that two hundred
calls at once take no longer than one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from convoforge.errors import ConfigError
from convoforge.rate import fingerprint
from convoforge.simulator.answers import count_usage, make_message, write_answer
from convoforge.simulator.batches import SimulatedBatches, make_routes
from convoforge.simulator.catalogue import MODELS
from convoforge.simulator.faults import BATCHED, ERROR_IN_200, ERRORS, LINES, ApiError, Fault, read_fault
from convoforge.simulator.options import SimulatorOptions
from convoforge.simulator.reading import ParsedRequest, read_object, read_request
from convoforge.simulator.state import SimulatorState
from convoforge.simulator.usage import UsageRow
from convoforge.simulator.wire import (
    HEADERS,
    answer_errors,
    answer_json,
    authenticate,
    error_response,
    has_left,
    read_body,
    read_key,
    send,
    send_page,
    sign,
)

BODY_BYTES = 32 * 1024 * 1024
SHUTDOWN_SECONDS = 0.1


class Simulator:
    """The routes and their state. `clock` and `wall` as in `SimulatorState`."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._arguments = options, clock, wall
        self._reset()

    def _reset(self) -> None:
        self._state = SimulatorState(*self._arguments)
        self._batches = SimulatedBatches(self._state)

    def make_application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[answer_errors])
        app.add_routes([
            web.post("/v1/messages", self.create),
            web.post("/v1/messages/count_tokens", answer_json(self.count_tokens)),
            *make_routes(lambda: self._batches),
            web.get("/v1/models/{id}", answer_json(self.retrieve_model)),
            web.post("/_simulator/script", answer_json(self.script)),
            web.get("/_simulator/usage", answer_json(self.read_usage)),
            web.post("/_simulator/usage-fields", answer_json(self.set_usage_fields)),
            web.post("/_simulator/models/{id}", answer_json(self.set_model_fields)),
            web.post("/_simulator/reset", answer_json(self.reset)),
            web.route("*", "/{path:.*}", answer_json(self.refuse_path)),
        ])  # fmt: skip
        return app

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/messages."""
        state = self._state
        row = state.usage.add(state.clock(), fingerprint(read_key(request)))
        request[HEADERS].update(sign(state.usage.request_id(row)))
        try:
            authenticate(request)
            asked = read_request(await read_body(request), request.headers.get("anthropic-version"))
            return await _answer(request, asked, row, state)
        except ApiError as error:
            row.settle(error.status, str(error.status))
            raise

    async def count_tokens(self, request: web.Request) -> dict[str, Any]:
        """POST /v1/messages/count_tokens."""
        authenticate(request)
        asked = read_request(await read_body(request), request.headers.get("anthropic-version"), counting=True)
        return {"input_tokens": asked.input_tokens}

    async def retrieve_model(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/models/{id}."""
        authenticate(request)
        name = request.match_info["id"]
        if name not in MODELS:
            raise ApiError(404, f"model: {name}")
        return {**MODELS[name].describe(), **self._state.model_fields.get(name, {})}

    async def script(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/script: `{"faults": ["529", "ok", {"kind": "429", "retry_after": 2}], "match": null, "on": null}`.

        `"clear": true` drops pending faults first.
        """
        script = self._state.script
        try:
            given = orjson.loads(await read_body(request))
            if given.get("clear"):
                script.clear()
            script.add([read_fault(fault) for fault in given["faults"]], given.get("match"), given.get("on"))
        except (ConfigError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ApiError(400, f"cannot read the script: {error}") from None
        return {"pending": script.pending}

    async def read_usage(self, request: web.Request) -> dict[str, Any]:
        """GET /_simulator/usage; with `?requests=1` also every request, as `rows`."""
        rows = {"rows": self._state.usage.rows()} if request.query.get("requests") == "1" else {}
        return self._state.usage.totals() | rows

    async def set_usage_fields(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/usage-fields: add or replace fields in the usage of each answer from now on."""
        self._state.usage_fields.update(read_object(await read_body(request)))
        return {}

    async def set_model_fields(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/models/{id}: replace fields in `GET /v1/models/{id}` from now on."""
        self._state.model_fields[request.match_info["id"]] = read_object(await read_body(request))
        return {}

    async def reset(self, request: web.Request) -> dict[str, Any]:
        """POST /_simulator/reset: drop faults, usage, cache, limits and batches, as after the start."""
        self._reset()
        return {}

    async def refuse_path(self, request: web.Request) -> dict[str, Any]:
        raise ApiError(404, f"Not found: {request.method} {request.path}")


async def _answer(request: web.Request, asked: ParsedRequest, row: UsageRow, state: SimulatorState) -> web.StreamResponse:
    """The answer to a request, or its fault. `state` is the state at its arrival: a later reset does not affect it."""
    key, model, headers = read_key(request), asked.model.id, request[HEADERS]
    reading = state.cache.read(asked, row.arrived)
    try:
        state.rates.admit(key, model, reading.usage.input_tokens + reading.usage.cache_write_tokens, row.arrived)
    finally:
        headers.update(state.rates.make_headers(key, model, row.arrived))
    fault = state.draw_fault(asked)
    if fault.kind in BATCHED or fault.kind in LINES:
        fault = Fault("529")
    headers.update(fault.headers)
    if fault.kind in ERRORS:
        raise ApiError.from_fault(fault)
    if fault.is_page:
        response = send_page(fault, headers)
        row.settle(response.status, fault.kind)
        return response
    if fault.kind == ERROR_IN_200:
        row.settle(200, fault.kind)
        return error_response(ApiError(500, fault.message, kind=fault.type), headers, status=200)

    answer = write_answer(asked, fault, state.options.seed, state.usage_fields)
    usage = count_usage(reading.usage, answer, asked)
    left = True
    try:
        await state.wait_latency(row.arrived)
        left = has_left(request)
    finally:  # a client that left meanwhile is billed all the same
        now = state.clock()
        state.cache.keep(reading.writes, now)
        if fault.kind != "html":
            state.rates.count_output(key, model, usage.output_tokens, now)
            row.bill(model, usage, delivered=not left and fault.kind not in ("reset", "hang", "broken_json"))
        status = 0 if left or fault.kind == "hang" else 200
        row.settle(status, "left" if left and fault.kind == "ok" else fault.kind)
    return await send(request, headers, fault, make_message(state.usage.message_id(row), model, answer, usage))


def serve(options: SimulatorOptions) -> None:
    """Run a simulator until SIGINT or SIGTERM; prints `{"url": …}` once it listens. Raises ConfigError if it cannot listen."""
    asyncio.run(_serve(options))


async def _serve(options: SimulatorOptions) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def stop_at_end_of_input() -> None:
        if not os.read(sys.stdin.fileno(), 65536):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    if options.until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stop_at_end_of_input)
    app = Simulator(options, loop.time, time.time).make_application()
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, options.host, options.port, backlog=1024).start()
        except OSError as error:
            address = f"{options.host}:{options.port}"
            raise ConfigError(
                f"the simulator cannot listen on {address} ({error.strerror}): choose another port, or 0."
            ) from None
        host, port = runner.addresses[0][:2]
        print(json.dumps({"url": f"http://{f'[{host}]' if ':' in host else host}:{port}"}), flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
