"""The Message Batches API: its calls, and how a batch is processed.

A batch is processed at the first call about it (retrieve, list, results) after its time is over: one request after the other, so
that one fills the prompt cache for the next. A request gets the same answer and the same faults as online, but has no rate
limits.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from convoforge.rate import fingerprint
from convoforge.simulator.answers import count_usage, make_message, write_answer
from convoforge.simulator.batch import Batch, read_requests, write_line
from convoforge.simulator.faults import BATCHED, BROKEN, ERRORS, OK, ApiError, Fault
from convoforge.simulator.reading import check_version, read_request
from convoforge.simulator.state import SimulatorState
from convoforge.simulator.usage import UsageRow
from convoforge.simulator.wire import HEADERS, Handler, authenticate, hang_up, read_body, read_key, send, send_page

BATCH_BYTES = 256 * 1024 * 1024
LINES_AT_ONCE = 16
"""Number of result lines sent in one chunk."""


class SimulatedBatches:
    """The message batches created since the last reset."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._batches: dict[str, Batch] = {}

    def take_fault(self, call: str) -> Fault:
        """The scripted fault for this call. Raises it if it is an error."""
        fault = self._state.script.take("", call) or Fault()
        if fault.kind in ERRORS:
            raise ApiError.from_fault(fault)
        return fault

    async def create(self, request: web.Request) -> dict[str, Any]:
        """POST /v1/messages/batches."""
        version = check_version(request.headers.get("anthropic-version"))
        found = read_requests(await read_body(request.clone(client_max_size=BATCH_BYTES)))
        state, key, now = self._state, read_key(request), self._state.clock()
        batch_id = f"msgbatch_sim_{state.run}{len(self._batches) + 1:06x}"
        added = [(state.usage.add(now, fingerprint(key), batch_id, custom_id), params) for custom_id, params in found]
        due = now + state.options.batch_seconds
        batch = Batch(batch_id, key, version, added, state.wall(), now, due, {"processing": len(added)})
        self._batches[batch_id] = batch
        return batch.describe(_origin(request))

    async def retrieve(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/messages/batches/{id}."""
        return (await self._find(request)).describe(_origin(request))

    async def list(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/messages/batches: newest first, at most `limit` (default 20), starting after `after_id`."""
        limit, after = request.query.get("limit", "20"), request.query.get("after_id")
        if not (limit.isdecimal() and 1 <= int(limit) <= 1000):
            raise ApiError(400, "limit: Input should be a valid integer from 1 to 1000")
        mine = [batch for batch in reversed(self._batches.values()) if batch.key == read_key(request)]
        ids = [batch.id for batch in mine]
        if after and after not in ids:
            raise ApiError(400, f"after_id: Message Batch {after} not found.")
        begin = ids.index(after) + 1 if after else 0
        chosen = mine[begin : begin + int(limit)]
        for batch in chosen:
            await self._process_when_due(batch)
        return {
            "data": [batch.describe(_origin(request)) for batch in chosen],
            "has_more": begin + len(chosen) < len(mine),
            "first_id": chosen[0].id if chosen else None,
            "last_id": chosen[-1].id if chosen else None,
        }

    async def send_results(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/messages/batches/{id}/results: one line per request, in chunks. A fault ends the stream within a line."""
        authenticate(request)
        headers, fault, batch = request[HEADERS], self.take_fault("batch_results"), await self._find(request)
        late = self._state.clock() - batch.due < self._state.options.batch_results_late_seconds
        if (lines := batch.lines) is None or late:
            raise ApiError(404, f"Message Batch {batch.id} has no available results.")
        if fault.is_page or fault.kind == "html":
            return send_page(fault, headers)
        response = web.StreamResponse(headers={**headers, "content-type": "application/x-jsonl"})
        await response.prepare(request)
        whole = len(lines) if fault.kind == OK else len(lines) // 2
        for begin in range(0, whole, LINES_AT_ONCE):
            piece = lines[begin : min(begin + LINES_AT_ONCE, whole)]
            await response.write(b"".join([line for _, line in piece]))
            for row, _ in piece:
                row.delivered = row.usage is not None
            await asyncio.sleep(0)
        if fault.kind != OK:
            await response.write(lines[whole][1][: len(lines[whole][1]) // 2])
        if fault.kind == "hang":
            await asyncio.Event().wait()  # ends when the client leaves: that cancels the handler
        if fault.kind == "reset":
            hang_up(request)
        return response

    async def _find(self, request: web.Request) -> Batch:
        batch_id, options = request.match_info["id"], self._state.options
        batch = self._batches.get(batch_id)
        if batch is not None:
            is_unknown = self._state.clock() - batch.begun < options.batch_unknown_seconds  # though listed, as seen at the API
        if batch is None or batch.key != read_key(request) or is_unknown:
            raise ApiError(404, f"Message Batch {batch_id} not found.")
        await self._process_when_due(batch)
        return batch

    async def _process_when_due(self, batch: Batch) -> None:
        """Process a batch if it is due. Other calls wait meanwhile; a caller that disconnects does not stop it."""
        if batch.ended is None and self._state.clock() >= batch.due:
            batch.work = batch.work or asyncio.create_task(self._process(batch))
            await asyncio.shield(batch.work)

    async def _process(self, batch: Batch) -> None:
        counts: Counter[str] = Counter()
        lines = []
        for row, params in batch.requests:
            kind, result = self._answer(batch, row, params)
            counts[result["type"]] += 1
            lines.append((row, write_line(row.custom_id, result, kind)))
            await asyncio.sleep(0)  # other calls get a turn
        batch.ended, batch.counts, batch.requests = batch.created + (batch.due - batch.begun), counts, ()
        batch.lines = _shuffle(lines, f"{self._state.options.seed} {batch.id[-6:]}")

    def _answer(self, batch: Batch, row: UsageRow, params: bytes) -> tuple[str, dict[str, Any]]:
        """A request's fault and result. Settles its row, and bills it if there is an answer."""
        state = self._state
        try:
            asked = read_request(params, batch.version)
            if not asked.model.batch:
                raise ApiError(400, f"{asked.model.id} is not supported in the Message Batches API")
        except ApiError as error:
            row.settle(error.status, str(error.status))
            return OK, {"type": "errored", "error": error.body(None)}
        fault = state.draw_fault(asked)
        if fault.kind in BATCHED:
            row.settle(0, fault.kind)
            return OK, {"type": fault.kind}
        if fault.kind in ERRORS or fault.kind in BROKEN:
            failure = ApiError.from_fault(fault)
            row.settle(failure.status, fault.kind)
            return OK, {"type": "errored", "error": failure.body(state.usage.request_id(row))}
        now = state.clock()
        reading = state.cache.read(asked, now)
        state.cache.keep(reading.writes, now)
        answer = write_answer(asked, fault, state.options.seed, state.usage_fields)
        usage = count_usage(reading.usage, answer, asked)
        row.bill(asked.model.id, usage, delivered=False)
        row.settle(200, fault.kind)
        message = make_message(state.usage.message_id(row), asked.model.id, answer, usage, tier="batch")
        return fault.kind, {"type": "succeeded", "message": fault.apply_fields(message)}


def make_routes(current: Callable[[], SimulatedBatches]) -> list[web.RouteDef]:
    """The routes; `current` gives the batches since the last reset."""

    def handle(call: str, method: Callable[[SimulatedBatches, web.Request], Awaitable[dict[str, Any]]]) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            headers, batches = request[HEADERS], current()
            authenticate(request)
            fault = batches.take_fault(call)
            body = await method(batches, request)
            if fault.is_page:  # the call was done, but a proxy sends another answer
                return send_page(fault, {**headers, **fault.headers})
            if fault.kind == "reset":  # the call was done, but the client gets no byte of the answer
                hang_up(request)
                fault = Fault()
            return await send(request, headers, fault, body)

        return answer

    async def results(request: web.Request) -> web.StreamResponse:
        return await current().send_results(request)

    root = "/v1/messages/batches"
    return [
        web.post(root, handle("batch_create", SimulatedBatches.create)),
        web.get(root, handle("batch_list", SimulatedBatches.list)),
        web.get(f"{root}/{{id}}", handle("batch_retrieve", SimulatedBatches.retrieve)),
        web.get(f"{root}/{{id}}/results", results),
    ]


def _shuffle(lines: list[tuple[UsageRow, bytes]], seed: str) -> list[tuple[UsageRow, bytes]]:
    """Shuffle the lines by the seed; two or more lines never keep their order."""
    mixed = random.Random(seed).sample(lines, len(lines))
    return mixed if mixed != lines else [*lines[1:], *lines[:1]]


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"
