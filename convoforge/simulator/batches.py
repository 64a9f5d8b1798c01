"""The Message SimulatedBatches API: what each of its calls answers, and how a batch is worked through.

A batch is worked through at the first look at it (retrieve, list, results) once its time is over: request by request in order, so
that one writes the prompt cache for the next, and with a pause for other calls after each. Its requests get what they would get
online, the same answer for the same prompt, and the same scripted and random faults; only limits of rates do not count.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from convoforge.rate import fingerprint
from convoforge.simulator.answers import answer, billed, message
from convoforge.simulator.batch import Batch, archive, read_items
from convoforge.simulator.batch_lines import write_line
from convoforge.simulator.caching import SimulatedCache
from convoforge.simulator.faults import BATCHED, BROKEN, ERRORS, OK, Fault, Odds, Script
from convoforge.simulator.options import SimulatorOptions
from convoforge.simulator.reading import ApiError, ParsedRequest, known_version, read_request
from convoforge.simulator.spoiling import page
from convoforge.simulator.usage import Books
from convoforge.simulator.wire import Handler, authenticate, body_of, error_response, hang_up, key_of, send, signed

BATCH_BYTES = 256 * 1024 * 1024
KEPT_BYTES = 512 * 1024 * 1024
"""Results of all batches together: older ones are archived."""

PIECE_LINES = 16
"""Results that are sent at once, of a stream of them."""


class SimulatedBatches:
    """The batches since the last reset, and what they share with online requests. `clock` and `wall` as in `Simulator`."""

    def __init__(
        self,
        options: SimulatorOptions,
        clock: Callable[[], float],
        wall: Callable[[], float],
        books: Books,
        script: Script,
        odds: Odds,
        cache: SimulatedCache,
        told: Mapping[str, Any],
    ) -> None:
        self._options = options
        self._clock = clock
        self._wall = wall
        self._books = books
        self._script = script
        self._odds = odds
        self._cache = cache
        self._told = told
        self._run = secrets.token_hex(4)
        self._made = 0
        self._batches: dict[str, Batch] = {}

    def fault(self, place: str) -> Fault:
        """What is scripted for this call, used up. Raises it where it is an error."""
        fault = self._script.next("", place) or Fault()
        if fault.kind in ERRORS:
            raise ApiError.of(fault)
        return fault

    async def create(self, request: web.Request) -> dict[str, Any]:
        """POST /v1/messages/batches."""
        version = known_version(request.headers.get("anthropic-version"))
        items = await read_items(await body_of(request.clone(client_max_size=BATCH_BYTES)))
        key, now = key_of(request), self._clock()
        self._made += 1
        batch_id = f"msgbatch_sim_{self._run}{self._made:06x}"
        batch = self._batches[batch_id] = Batch(
            batch_id,
            key,
            version,
            self._books,
            self._books.arrive_together(now, fingerprint(key), batch_id, [item.custom_id for item in items]),
            items,
            created=self._wall(),
            begun=now,
            due=now + self._options.batch_seconds,
            reached=len(items),
            counts={"processing": len(items)},
        )
        return batch.told(origin(request))

    async def retrieve(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/messages/batches/{id}."""
        return (await self._looked_at(request)).told(origin(request))

    async def page(self, request: web.Request) -> dict[str, Any]:
        """GET /v1/messages/batches: newest first, `limit` of them, from behind `after_id` or up to `before_id`."""
        limit, after, before = (request.query.get(name) for name in ("limit", "after_id", "before_id"))
        if limit is not None and not (limit.isdecimal() and 1 <= int(limit) <= 1000):
            raise ApiError(400, "limit: Input should be a valid integer from 1 to 1000")
        if after and before:
            raise ApiError(400, "Only one of after_id and before_id may be given")
        mine = [batch for batch in reversed(self._batches.values()) if batch.key == key_of(request)]
        places = {batch.id: at for at, batch in enumerate(mine)}
        if (cursor := after or before) and cursor not in places:
            raise ApiError(400, f"{'after_id' if after else 'before_id'}: Message Batch {cursor} not found.")
        length = int(limit or 20)
        end = places[before] if before else min(len(mine), length + (places[after] + 1 if after else 0))
        begin = max(0, end - length) if before else places[after] + 1 if after else 0
        for batch in (chosen := mine[begin:end]):
            await self._look(batch)
        return {
            "data": [batch.told(origin(request)) for batch in chosen],
            "has_more": begin > 0 if before else end < len(mine),
            "first_id": chosen[0].id if chosen else None,
            "last_id": chosen[-1].id if chosen else None,
        }

    async def cancel(self, request: web.Request) -> dict[str, Any]:
        """POST /v1/messages/batches/{id}/cancel: what its time so far was enough for is answered, the rest never will be."""
        batch = self._mine(request)
        took = self._options.batch_seconds
        if batch.canceled is None and (took or batch.work):  # one that takes no time can be cancelled until it is looked at
            await self._look(batch)
        if batch.ended is not None:
            raise ApiError(400, f"Message Batch {batch.id} has already ended and cannot be canceled.")
        if batch.canceled is None:
            now = self._clock()
            batch.canceled, batch.due = self._wall(), now
            batch.reached = int(len(batch.items) * (now - batch.begun) / took) if took else 0
        return batch.told(origin(request))

    async def delete(self, request: web.Request) -> dict[str, Any]:
        """DELETE /v1/messages/batches/{id}, where it has ended. The books keep its requests."""
        batch = await self._looked_at(request)
        if batch.ended is None:
            raise ApiError(400, "In progress batches cannot be deleted. Consider canceling the batch instead.")
        self._batches.pop(batch.id, None)
        return {"id": batch.id, "type": "message_batch_deleted"}

    async def results(self, request: web.Request, headers: dict[str, str], fault: Fault) -> web.StreamResponse:
        """GET /v1/messages/batches/{id}/results: a line for each request, in pieces. A fault breaks off in the middle of one."""
        batch = await self._looked_at(request)
        late = self._clock() - batch.due < self._options.batch_results_late_seconds
        if (lines := batch.lines) is None or late:
            raise ApiError(404, f"Message Batch {batch.id} has no available results.")
        if fault.page:
            return page(fault, headers)
        if fault.kind == "html":
            return await send(request, headers, fault.kind, [b""])
        response = web.StreamResponse(headers={**headers, "content-type": "application/x-jsonl"})
        await response.prepare(request)
        whole = len(lines) if fault.kind == OK else len(lines) // 2
        for at in range(0, whole, PIECE_LINES):
            piece = lines[at : min(at + PIECE_LINES, whole)]
            await response.write(b"".join([line for _, line in piece]))
            for row, _ in piece:
                batch.books.deliver(row)
            await asyncio.sleep(0)
        if fault.kind != OK:
            await response.write(lines[whole][1][: len(lines[whole][1]) // 2])
        if fault.kind == "hang":
            await asyncio.Event().wait()  # ends when the client leaves: that cancels the handler
        if fault.kind == "reset":
            hang_up(request)
        return response

    def _mine(self, request: web.Request) -> Batch:
        batch_id = request.match_info["id"]
        batch = self._batches.get(batch_id)
        if batch is None or batch.key != key_of(request) or self._is_unknown(batch):
            raise ApiError(404, f"Message Batch {batch_id} not found.")
        return batch

    def _is_unknown(self, batch: Batch) -> bool:
        """Whether a batch is not to be found now, though it is there and listed: as people have met it."""
        since = self._clock() - batch.begun - self._options.batch_unknown_after
        return 0 <= since < self._options.batch_unknown_seconds

    async def _looked_at(self, request: web.Request) -> Batch:
        batch = self._mine(request)
        await self._look(batch)
        return batch

    async def _look(self, batch: Batch) -> None:
        """Have it worked through if it is time; whoever looks meanwhile waits too, and nobody who leaves stops it."""
        if batch.ended is None and self._clock() >= batch.due:
            batch.work = batch.work or asyncio.create_task(self._work(batch))
            await asyncio.shield(batch.work)

    async def _work(self, batch: Batch) -> None:
        counts: Counter[str] = Counter()
        lines = []
        for at, (row, item) in enumerate(zip(batch.rows, batch.items, strict=True)):
            if at < batch.reached:
                fault, result = self._result(batch, row, item.params)
            else:
                fault, result = OK, unanswered(batch, row, "canceled")
            counts[result["type"]] += 1
            lines.append((row, write_line(item.custom_id, result, fault)))
            await asyncio.sleep(0)
        batch.ended, batch.counts, batch.items = batch.created + (batch.due - batch.begun), counts, ()
        batch.lines = shuffled(lines, f"{self._options.seed} {batch.id[-6:]}")
        archive(self._batches.values(), KEPT_BYTES, self._wall(), spare=batch)

    def _result(self, batch: Batch, row: int, params: bytes) -> tuple[str, dict[str, Any]]:
        """The fault that one request meets, and what becomes of it, entered in the books: an answer is charged, anything else is not."""
        books = batch.books
        try:
            asked = read_batched(params, batch.version)
        except ApiError as error:
            books.settle(row, error.status, str(error.status))
            return OK, {"type": "errored", "error": error.body(None)}
        fault = self._script.next(asked.prompt) or self._odds.draw(asked.key)
        if fault.kind in BATCHED:
            return OK, unanswered(batch, row, fault.kind)
        if fault.kind in ERRORS or fault.kind in BROKEN:
            failure = ApiError.of(fault)
            books.settle(row, failure.status, fault.kind)
            return OK, {"type": "errored", "error": failure.body(books.request_id(row))}
        now = self._clock()
        reading = self._cache.read(asked, now)
        self._cache.keep(reading.writes, now)
        said = replace(answer(asked, fault, self._options.seed), told=self._told)
        usage = billed(reading.usage, said, asked)
        books.bill(row, asked.model.id, usage, delivered=False)
        books.settle(row, 200, fault.kind)
        told = {**message(books.message_id(row), asked.model.id, said, usage, tier="batch"), **fault.fields}
        told = {name: value for name, value in told.items() if name not in fault.without}
        return fault.kind, {"type": "succeeded", "message": told}


def routes(current: Callable[[], SimulatedBatches]) -> list[web.RouteDef]:
    """The routes; `current` gives the batches since the last reset."""

    def call(place: str, method: Callable[[SimulatedBatches, web.Request], Awaitable[dict[str, Any]]]) -> Handler:
        async def answered(request: web.Request) -> web.StreamResponse:
            headers, batches = signed(), current()
            try:
                authenticate(key_of(request))
                fault = batches.fault(place)
                body = await method(batches, request)
            except ApiError as error:
                return error_response(error, headers)
            if fault.page:  # it was done, and a server in between says something else
                return page(fault, {**headers, **fault.headers})
            if fault.kind == "reset":  # it was done, and the client is not told a byte of it
                hang_up(request)
            body = {name: value for name, value in {**body, **fault.fields}.items() if name not in fault.without}
            return await send(request, headers, OK if fault.kind == "reset" else fault.kind, [orjson.dumps(body)])

        return answered

    async def results(request: web.Request) -> web.StreamResponse:
        headers, batches = signed(), current()
        try:
            authenticate(key_of(request))
            return await batches.results(request, headers, batches.fault("batch_results"))
        except ApiError as error:
            return error_response(error, headers)

    root = "/v1/messages/batches"
    return [
        web.post(root, call("batch_create", SimulatedBatches.create)),
        web.get(root, call("batch_list", SimulatedBatches.page)),
        web.get(f"{root}/{{id}}", call("batch_retrieve", SimulatedBatches.retrieve)),
        web.delete(f"{root}/{{id}}", call("batch_delete", SimulatedBatches.delete)),
        web.post(f"{root}/{{id}}/cancel", call("batch_cancel", SimulatedBatches.cancel)),
        web.get(f"{root}/{{id}}/results", results),
    ]


def read_batched(params: bytes, version: str) -> ParsedRequest:
    """The request in `params`, checked as online and for what batches are stricter about. Raises ApiError as the API would."""
    asked = read_request(params, version)
    if asked.stream:
        raise ApiError(400, '"stream=True" is not supported in the Message SimulatedBatches API')
    if not asked.model.batch:
        raise ApiError(400, f"{asked.model.id} is not supported in the Message SimulatedBatches API")
    if asked.max_tokens < 1:
        raise ApiError(400, "max_tokens: must be greater than or equal to 1")
    return asked


def unanswered(batch: Batch, row: int, kind: str) -> dict[str, Any]:
    """The result of a request that was cancelled or expired, entered in the books."""
    batch.books.settle(row, 0, kind)
    return {"type": kind}


def shuffled(lines: list[tuple[int, bytes]], seed: str) -> list[tuple[int, bytes]]:
    """The lines in an order that follows from the seed, and is never the one they came in where there are two or more."""
    mixed = random.Random(seed).sample(lines, len(lines))
    return mixed if mixed != lines else [*lines[1:], *lines[:1]]


def origin(request: web.Request) -> str:
    """Scheme and host as the client called them."""
    return f"{request.scheme}://{request.host}"
