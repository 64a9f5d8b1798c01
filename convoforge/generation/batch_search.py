"""Searches the API's list for message batches: those whose creation got no answer, and those that the API seems to have lost."""

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
"""Maximum number of results to read to decide whether a batch is ours."""


class BatchSearch:
    """Searches for one run. A batch found not to be ours is not read again."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._not_ours: set[tuple[str, str]] = set()

    async def is_listed(self, api: MessageBatchClient, batch: OpenBatch) -> bool:
        """Whether a created batch is in the API's list."""
        return batch.api_id in {one.id async for one in api.list_since(batch.created_at - SKEW)}

    async def find(self, api: MessageBatchClient, batch: OpenBatch, parts: Mapping[str, BatchRequest]) -> str | None:
        """Find the API's id of a batch that was not recorded, because the process died or the answer was lost: the custom ids in
        its results identify it. None if there is none. Raises `ClaudeAPIError` while a candidate has no results yet."""
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
        """Whether the API lists a batch of this size, created since then, whose id is not recorded. Raises a `ClaudeAPIError`."""
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
