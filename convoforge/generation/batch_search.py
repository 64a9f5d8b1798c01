"""Message batches looked for in the API's own list: one whose making got no answer, one that the API seems to have lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta

from convoforge.claude import MessageBatchClient
from convoforge.errors import TransientError
from convoforge.generation.run_context import RunContext
from convoforge.ledger.message_batches import BatchRequest, OpenBatch, list_known_batches, name_batch
from convoforge.models import BatchState

SKEW = timedelta(minutes=10)
"""Maximum difference between this machine's clock and the API's."""

RECOGNIZED_WITHIN = 100
"""Number of results to read before a batch is known to be ours or another's."""


class BatchSearch:
    """Looks for one run. A batch that was looked into and is another's is not looked into again."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._not_ours: set[tuple[str, str]] = set()

    async def is_listed(self, api: MessageBatchClient, batch: OpenBatch) -> bool:
        """Whether the API's list has a batch that it has named."""
        return batch.api_id in {one.id async for one in api.list_since(batch.created_at - SKEW)}

    async def find(self, api: MessageBatchClient, batch: OpenBatch, parts: Mapping[str, BatchRequest]) -> str | None:
        """What the API calls a batch whose name was never written down, as the process died or the answer was lost: it is known by the
        names in its results. Raises `ClaudeAPIError` while one may be it, and has no results yet."""
        alike = [one async for one in self._unnamed(api, batch.requests, batch.created_at)]
        like_it = [one for one in alike if (batch.id, one.id) not in self._not_ours]
        for one in like_it:
            if one.ended and await self._is_it(api, one, parts):
                await self._run.ledger.awrite(name_batch, batch.id, one.id)
                return one.id
            if one.ended:
                self._not_ours.add((batch.id, one.id))
        if any(not one.ended for one in like_it):
            raise TransientError(
                "the answer to its making was lost: it is known by its results, once it has ended", kind="nameless"
            )
        return None

    async def may_be_made(self, api: MessageBatchClient, requests: int, since: datetime) -> bool:
        """Whether the API lists a batch of so many requests, made since then, that nobody has named. Raises a `ClaudeAPIError`."""
        return bool([one async for one in self._unnamed(api, requests, since)])

    async def _unnamed(self, api: MessageBatchClient, requests: int, since: datetime) -> AsyncIterator[BatchState]:
        known = await self._run.ledger.aread(list_known_batches)
        async for one in api.list_since(since - SKEW):
            if one.requests in (None, requests) and one.id not in known:
                yield one

    async def _is_it(self, api: MessageBatchClient, state: BatchState, parts: Mapping[str, BatchRequest]) -> bool:
        looked_into = 0
        async with aclosing(api.results(state.id, self._run.spec.generation)) as results:
            async for one in results:
                if one.custom_id in parts:
                    return True
                looked_into += one.custom_id is not None
                if looked_into >= RECOGNIZED_WITHIN:
                    break
        return False
