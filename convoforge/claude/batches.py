"""Message batches: many requests handed over at once, answered within a day, at half price.

A batch carries nothing of ours but each request's `custom_id`; results come in any order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from convoforge.claude.client import Claude
from convoforge.claude.connection import Answer
from convoforge.claude.errors import judge_by_type, line
from convoforge.claude.reading import bad_body, provider_of, read_json, read_reply
from convoforge.errors import ClaudeAPIError, TransientError
from convoforge.models import BatchResult, BatchState, Prompt
from convoforge.spec import Generation

HANDOVER_SECONDS = 600.0
"""How long a batch may take on its way to the API: it can be some hundred megabytes."""

_PATH = "v1/messages/batches"
_LISTED_AT_ONCE = 100


class Batches:
    """The batches of one of a client's keys. Everything raises a `ClaudeAPIError`."""

    def __init__(self, claude: Claude, key: int = 0) -> None:
        self._claude = claude
        self._key = key

    def request(self, custom_id: str, prompt: Prompt, settings: Generation, *, keep: bool = False) -> bytes:
        """One request of a batch, as it is handed over."""
        return orjson.dumps({"custom_id": custom_id, "params": self._claude.body(prompt, settings, keep=keep)})

    async def create(self, requests: Sequence[bytes], settings: Generation) -> BatchState:
        """Hand over a batch. After a `TransientError` nobody knows whether there is one: look for it with `since`."""
        content = b'{"requests":[' + b",".join(requests) + b"]}"
        old = self._claude.applies_temperature(settings)
        answer = await self._claude.call("POST", _PATH, self._key, content, old_version=old, seconds=HANDOVER_SECONDS)
        return _state(read_json(answer), answer)

    async def look(self, batch_id: str) -> BatchState:
        """Where a batch stands."""
        answer = await self._claude.call("GET", f"{_PATH}/{batch_id}", self._key)
        return _state(read_json(answer), answer)

    async def since(self, moment: datetime) -> AsyncIterator[BatchState]:
        """The batches created from a moment on, newest first."""
        query = f"limit={_LISTED_AT_ONCE}"
        while True:
            answer = await self._claude.call("GET", f"{_PATH}?{query}", self._key)
            page = read_json(answer)
            if not isinstance(page.get("data"), list):
                raise bad_body(answer, "it lists no batches")
            found = [_state(one, answer) for one in page["data"]]
            for one in found:
                if one.created_at < moment:
                    return
                yield one
            if not page.get("has_more") or not found:
                return
            query = f"limit={_LISTED_AT_ONCE}&after_id={found[-1].id}"

    async def results(self, batch_id: str, settings: Generation) -> AsyncIterator[BatchResult]:
        """What became of the requests of a batch that has ended, in any order, as it streams in.

        The address is our own, not the one that the API names: a key goes nowhere else than to the API.
        """
        applied = self._claude.applies_temperature(settings)
        async with self._claude.stream(f"{_PATH}/{batch_id}/results", self._key) as (answer, lines):
            async for text in lines:
                if text.strip():
                    yield self._result(text, answer, applied)

    def _result(self, text: bytes, answer: Answer, applied: bool) -> BatchResult:
        try:
            told = orjson.loads(text)
            custom_id, result = str(told["custom_id"]), told["result"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise bad_body(answer, f"a batch's result is not what it should be: {error}") from None
        try:
            if result["type"] != "succeeded":
                return BatchResult(custom_id, error=_fault(result["type"], result))
            message = result["message"]
            reply = read_reply(message, answer, temperature_applied=applied)
            return BatchResult(custom_id, reply=reply, message_id=str(message.get("id", "")) or None)
        except (KeyError, TypeError, AttributeError) as error:
            return BatchResult(custom_id, error=bad_body(answer, f"a field is missing or is not what it should be: {error}"))
        except TransientError as error:  # it will not be readable another time either
            return BatchResult(custom_id, error=error)


def _fault(kind: str, result: Mapping[str, Any]) -> ClaudeAPIError:
    if kind != "errored":
        return TransientError(f"the batch ended without an answer: {kind}", kind=kind)
    error = result["error"].get("error") or result["error"]
    kind, said = line(error.get("type", "error"), (), 64), line(error.get("message", ""), ())
    found, _ = judge_by_type(kind, said)
    return found(f"the API could not answer in a batch ({kind}): {said}", kind=kind)


def _state(told: Mapping[str, Any], answer: Answer) -> BatchState:
    try:
        counts = {str(name): int(number) for name, number in told["request_counts"].items()}
        return BatchState(
            id=str(told["id"]),
            ended=told["processing_status"] == "ended",
            requests=sum(counts.values()),
            counts=counts,
            created_at=datetime.fromisoformat(told["created_at"]),
            provider=provider_of(answer.headers),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise bad_body(answer, f"a batch is not what it should be: {error}") from None
