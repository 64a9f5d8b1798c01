"""One message batch: how its requests are read, how it is told on the wire, and when its results give way to others."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from convoforge.simulator.options import DAY_SECONDS
from convoforge.simulator.reading import ApiError, read_object
from convoforge.simulator.usage import Books

MAX_REQUESTS = 100_000
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
COUNTED = ("processing", "succeeded", "errored", "canceled", "expired")
AT_ONCE = 200
"""Requests read before others get a turn: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch; `params` is the body of a Messages call, unread."""

    custom_id: str
    params: bytes


@dataclass(slots=True)
class Batch:
    """A batch, from its creation to its end. Times are seconds since 1970, but for `begun` and `due`: those are on the clock.

    It belongs to `key`, and its requests are in the API's `version`; `rows` are theirs in `books`. It ends at the first look
    after `due`. Only the first `reached` requests are answered: of a cancelled one, those it had come to. `items` are what waits,
    `lines` the results with their rows, in no order: None before the end, and once they are archived.
    """

    id: str
    key: str
    version: str
    books: Books
    rows: range
    items: Sequence[Item]
    created: float
    begun: float
    due: float
    reached: int
    counts: Mapping[str, int]
    canceled: float | None = None
    ended: float | None = None
    archived: float | None = None
    lines: Sequence[tuple[int, bytes]] | None = None
    work: asyncio.Task[None] | None = None

    def told(self, origin: str) -> dict[str, Any]:
        """The batch as the API tells it; `origin` is scheme and host of the simulator, as the client called it."""
        running = "in_progress" if self.canceled is None else "canceling"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": running if self.ended is None else "ended",
            "request_counts": {kind: self.counts.get(kind, 0) for kind in COUNTED},
            "created_at": stamp(self.created),
            "expires_at": stamp(self.created + DAY_SECONDS),
            "ended_at": stamp(self.ended),
            "cancel_initiated_at": stamp(self.canceled),
            "archived_at": stamp(self.archived),
            "results_url": None if self.lines is None else f"{origin}/v1/messages/batches/{self.id}/results",
        }

    @property
    def size(self) -> int:
        """Bytes of its results."""
        return sum(len(line) for _, line in self.lines or ())


async def read_items(raw: bytes) -> list[Item]:
    """The requests in the body of a create call, with pauses for other calls. Raises ApiError as the API would.

    What is in `params` is not looked at: the API says what is wrong there when it gets to it, in the results.
    """
    body = read_object(raw)
    for name in body:
        if name != "requests":
            raise ApiError(400, f"{name}: Extra inputs are not permitted")
    requests = body.get("requests")
    if not isinstance(requests, list):
        raise ApiError(400, "requests: Field required" if requests is None else "requests: Input should be a valid list")
    if not requests:
        raise ApiError(400, "requests: List should have at least 1 item after validation, not 0")
    if len(requests) > MAX_REQUESTS:
        raise ApiError(400, f"requests: List should have at most {MAX_REQUESTS} items after validation, not {len(requests)}")
    items = []
    for at, request in enumerate(requests):
        items.append(_item(request, f"requests.{at}"))
        if at % AT_ONCE == 0:
            await asyncio.sleep(0)
    twice, times = Counter(item.custom_id for item in items).most_common(1)[0]
    if times > 1:
        raise ApiError(400, f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {twice}")
    return items


def _item(request: Any, where: str) -> Item:
    if not isinstance(request, dict):
        raise ApiError(400, f"{where}: Input should be a valid dictionary")
    for name in ("custom_id", "params"):
        if name not in request:
            raise ApiError(400, f"{where}.{name}: Field required")
    for name in request:
        if name not in ("custom_id", "params"):
            raise ApiError(400, f"{where}.{name}: Extra inputs are not permitted")
    custom_id, params = request["custom_id"], request["params"]
    if not isinstance(custom_id, str):
        raise ApiError(400, f"{where}.custom_id: Input should be a valid string")
    if len(custom_id) > 64:
        raise ApiError(400, f"{where}.custom_id: String should have at most 64 characters")
    if not CUSTOM_ID.fullmatch(custom_id):
        raise ApiError(400, f"{where}.custom_id: String should match pattern '^{CUSTOM_ID.pattern}$'")
    if not isinstance(params, dict):
        raise ApiError(400, f"{where}.params: Input should be a valid dictionary")
    return Item(custom_id, orjson.dumps(params))  # as text it takes a fifth of the room that it takes as objects


def archive(batches: Iterable[Batch], most: int, now: float, *, spare: Batch) -> None:
    """Forget the results of the oldest batches, but not of `spare`, until all together are at most `most` bytes.

    Such a batch stays listed, as one whose results are archived. This bounds the memory.
    """
    kept = [(batch, batch.size) for batch in batches if batch.lines is not None]
    over = sum(size for _, size in kept) - most
    for batch, size in kept:
        if over <= 0:
            return
        if batch is not spare:
            batch.lines, batch.archived = None, now
            over -= size


def stamp(seconds: float | None) -> str | None:
    """A time (seconds since 1970) as the API writes it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
