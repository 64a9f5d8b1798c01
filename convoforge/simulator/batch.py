"""One message batch: reads its requests, describes it as the API does, and writes its results."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from convoforge.simulator.faults import ApiError
from convoforge.simulator.options import DAY_SECONDS
from convoforge.simulator.reading import read_object
from convoforge.simulator.usage import UsageRow
from convoforge.simulator.wire import HTML

MAX_REQUESTS = 100_000
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
COUNTED = ("processing", "succeeded", "errored", "canceled", "expired")


@dataclass(slots=True)
class Batch:
    """A message batch of `key`, created in the API's `version`. It ends at the first call about it after `due`.

    `created` and `ended` are seconds since 1970, `begun` and `due` are seconds on a monotonic clock. `requests` are the rows of
    its requests with their unparsed bodies, empty once it has ended; `lines` are its results with their rows, None until then.
    """

    id: str
    key: str
    version: str
    requests: Sequence[tuple[UsageRow, bytes]]
    created: float
    begun: float
    due: float
    counts: Mapping[str, int]
    ended: float | None = None
    lines: Sequence[tuple[UsageRow, bytes]] | None = None
    work: asyncio.Task[None] | None = None

    def describe(self, origin: str) -> dict[str, Any]:
        """Describe the batch in the API's format; `origin` is scheme and host of the simulator, as the client called it."""
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "in_progress" if self.ended is None else "ended",
            "request_counts": {kind: self.counts.get(kind, 0) for kind in COUNTED},
            "created_at": _format_time(self.created),
            "expires_at": _format_time(self.created + DAY_SECONDS),
            "ended_at": _format_time(self.ended),
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": None if self.lines is None else f"{origin}/v1/messages/batches/{self.id}/results",
        }


def read_requests(raw: bytes) -> list[tuple[str, bytes]]:
    """Custom ids and bodies of the requests in a create call. Raises ApiError as the API would.

    The bodies are not parsed yet: the API reports their errors in the results.
    """
    try:
        # as bytes, a body takes a fifth of the memory
        found = [(item["custom_id"], orjson.dumps(item["params"])) for item in read_object(raw)["requests"]]
        unfit = next((custom_id for custom_id, _ in found if not CUSTOM_ID.fullmatch(custom_id)), None)
    except (TypeError, KeyError):
        raise ApiError(400, "requests: Input should be a list of objects with custom_id and params") from None
    if not 1 <= len(found) <= MAX_REQUESTS:
        raise ApiError(400, f"requests: List should have 1 to {MAX_REQUESTS} items, not {len(found)}")
    if unfit is not None:
        raise ApiError(400, f"requests: custom_id '{unfit}' should match pattern '^{CUSTOM_ID.pattern}$'")
    custom_id, times = Counter(custom_id for custom_id, _ in found).most_common(1)[0]
    if times > 1:
        raise ApiError(400, f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {custom_id}")
    return found


def write_line(custom_id: str | None, result: dict[str, Any], kind: str) -> bytes:
    """Write the line or lines of one result, each with a line feed. `kind` may be a fault seen in real results."""
    whole = orjson.dumps({"custom_id": custom_id, "result": result})
    line = {
        "line_cut": whole[: len(whole) // 2],
        "line_stub": whole[:14],
        "line_half_character": whole.replace(b'\\"content\\":\\"', b'\\"content\\":\\"\\ud83d', 1),
        "line_bom": b"\xef\xbb\xbf" + whole,
        "line_nan": whole[:-1] + b',"score":NaN}',
        "line_event": b'{"event":"keepalive"}',
        "line_nameless": orjson.dumps({"result": result}),
        "line_stranger": orjson.dumps({"custom_id": "nobody", "result": result}),
        "line_twice": whole + b"\n" + whole,
        "line_html": HTML.format("Bad gateway").replace("><", ">\n<").encode(),
        "line_missing": b"",
        "line_unknown_type": orjson.dumps({"custom_id": custom_id, "result": {"type": "deferred"}}),
    }.get(kind, whole)
    return line and line + b"\n"


def _format_time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
