"""Message batches: many requests uploaded at once, answered within a day, at half price.

Our only identifier in a batch is each request's `custom_id`; results come in any order.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2
import orjson

from convoforge.claude.errors import classify_by_type, clean_line
from convoforge.claude.http import MAX_LINE
from convoforge.claude.reading import parse_json, read_json, read_provider, read_reply, unreadable
from convoforge.errors import ClaudeAPIError, TransientError
from convoforge.models import BatchResult, BatchState, Prompt, UnreadableLine
from convoforge.planning.spec import Generation

if TYPE_CHECKING:
    from convoforge.claude.client import Claude

HANDOVER_SECONDS = 600.0
"""Maximum seconds to upload a batch: it can be a few hundred megabytes."""

_PATH = "/v1/messages/batches"
_LISTED_AT_ONCE = 100
_BATCH_ID = re.compile("[!-~]{1,128}")
_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*"([a-zA-Z0-9_-]{1,64})"')

_UNBILLED = ("canceled", "expired")
"""Result types, besides `errored`, that the API does not bill."""


class MessageBatches:
    """The message batches of one key of a client. Every method raises a `ClaudeAPIError`."""

    def __init__(self, claude: Claude, key: int = 0) -> None:
        self._claude = claude
        self._key = key

    def request(self, custom_id: str, prompt: Prompt, settings: Generation, *, keep: bool = False) -> bytes:
        return orjson.dumps({"custom_id": custom_id, "params": self._claude.body(prompt, settings, keep=keep)})

    async def create(self, requests: Sequence[bytes], settings: Generation) -> BatchState:
        """Create a batch. After a `TransientError` it may or may not exist: look for it with `list_since`."""
        content = b'{"requests":[' + b",".join(requests) + b"]}"
        old = self._claude.applies_temperature(settings)
        response = await self._claude.call("POST", _PATH, self._key, content=content, old_version=old, seconds=HANDOVER_SECONDS)
        return _state(read_json(response), response)

    async def retrieve(self, batch_id: str) -> BatchState:
        response = await self._claude.call("GET", f"{_PATH}/{quote(batch_id, safe='')}", self._key)
        return _state(read_json(response), response)

    async def list_since(self, moment: datetime) -> AsyncIterator[BatchState]:
        """Yield the batches created at or after `moment` or at an unknown time, newest first, as the API lists them."""
        query, seen = f"limit={_LISTED_AT_ONCE}", set[str]()
        while True:
            response = await self._claude.call("GET", f"{_PATH}?{query}", self._key)
            page = read_json(response)
            if not isinstance(page.get("data"), list):
                raise unreadable(response, "it lists no batches")
            found = [_state(one, response) for one in page["data"]]
            if found and found[-1].id in seen:
                raise unreadable(response, "it lists the same batches again")
            seen.update(one.id for one in found)
            recent = [one for one in found if one.created_at is None or one.created_at >= moment]
            for one in recent:
                yield one
            if not page.get("has_more") or not recent or recent[-1] is not found[-1]:
                return
            query = f"limit={_LISTED_AT_ONCE}&after_id={quote(found[-1].id, safe='')}"

    async def results(self, batch_id: str, settings: Generation) -> AsyncGenerator[BatchResult | UnreadableLine]:
        """Stream the results of an ended batch, in any order. An unreadable line does not end the stream.

        The URL is built here, not taken from the API's `results_url`, so that a key is sent to no other server.
        """
        applied = self._claude.applies_temperature(settings)
        async with self._claude.stream(f"{_PATH}/{quote(batch_id, safe='')}/results", self._key) as (response, lines):
            async for text in lines:
                if text.strip():
                    yield self._result(text, response, applied)

    def _result(self, text: bytes, response: httpx2.Response, applied: bool) -> BatchResult | UnreadableLine:
        try:
            data = parse_json(text)
            if not isinstance(data, dict):
                raise TypeError("it is no JSON object")
            custom_id, result = data["custom_id"], data["result"]
            if not isinstance(custom_id, str):
                raise TypeError("its custom_id is no text")
        except (ValueError, KeyError, TypeError) as error:
            return _unreadable(text, response, error)
        try:
            if result["type"] != "succeeded":
                return BatchResult(custom_id, error=_fault(result["type"], result))
            message = result["message"]
            reply = read_reply(message, response, temperature_applied=applied)
            return BatchResult(custom_id, reply=reply, message_id=clean_line(message.get("id") or "", (), 128) or None)
        except (KeyError, TypeError, AttributeError) as error:
            return BatchResult(custom_id, error=unreadable(response, f"a field is missing or is not what it should be: {error}"))
        except TransientError as error:  # it will not be readable another time either
            return BatchResult(custom_id, error=error)


def _fault(kind: object, result: Mapping[str, Any]) -> ClaudeAPIError:
    """The error for a result that is not an answer."""
    if kind != "errored":
        word = clean_line(kind, (), 64)
        if kind in _UNBILLED:
            return TransientError(f"the batch ended without an answer: {word}", kind=word)
        words = f"the batch brought a result of the unknown type '{word}'; it may have been billed"
        return TransientError(words, kind="unknown_result", maybe_billed=True)
    error = result["error"].get("error") or result["error"]
    kind, message = clean_line(error.get("type", "error"), (), 64), clean_line(error.get("message", ""), ())
    found, _ = classify_by_type(kind, message)
    return found(f"the API could not answer in a batch ({kind}): {message}", kind=kind)


def _unreadable(text: bytes, response: httpx2.Response, why: Exception) -> UnreadableLine:
    named = _CUSTOM_ID.search(text)
    missing = f"it has no {why}" if isinstance(why, KeyError) else str(why)
    if len(text) >= MAX_LINE:
        missing = f"it is longer than {MAX_LINE} bytes"
    begins = clean_line(text[:80].decode(errors="replace"), (), 60)
    return UnreadableLine(
        error=unreadable(response, f"a result could not be read: {clean_line(missing, (), 100)} (it begins {begins})"),
        custom_id=named[1].decode() if named else None,
        in_place_of_one=text.lstrip(b"\xef\xbb\xbf \t").startswith(b"{")
        and b'"type":"error"' not in text.replace(b" ", b"")[:20],
        cut=not text.endswith(b"\n"),
    )


def _state(data: Any, response: httpx2.Response) -> BatchState:
    """Read a batch from the API's JSON. Only its id and status are required; a newer API may add or leave out the rest."""
    if not isinstance(data, dict):
        raise unreadable(response, "a batch is no JSON object")
    name, status = data.get("id"), data.get("processing_status")
    if not isinstance(name, str) or not _BATCH_ID.fullmatch(name):
        raise unreadable(response, "a batch has no id")
    if not isinstance(status, str):
        raise unreadable(response, "a batch has no processing_status")
    given = data.get("request_counts")
    counts = {str(kind): number for kind, number in given.items() if type(number) is int} if isinstance(given, dict) else {}
    ended_at = _time(data.get("ended_at"))
    return BatchState(
        id=name,
        status=clean_line(status, (), 32),
        ended=status == "ended" or ended_at is not None,  # `ended_at` also covers a status for ended batches that is new
        requests=sum(counts.values()) or None,
        counts=counts,
        created_at=_time(data.get("created_at")),
        ended_at=ended_at,
        archived=_time(data.get("archived_at")) is not None,
        provider=read_provider(response.headers),
    )


def _time(data: object) -> datetime | None:
    """Read a time of the API as an aware datetime; None if missing or unreadable."""
    try:
        found = datetime.fromisoformat(data) if isinstance(data, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found
