"""Submits requests in message batches, and finds them again after a crash. Half the price, answers within a day.

An intent row is written before a batch is created, so that a crash in between leaves a trace: the batch is then found in the
API's list, and identified by the custom ids in its results (see `batch_search`).
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from convoforge.errors import ClaudeAPIError, FatalAPIError, RejectedError, TransientError, span
from convoforge.generation.batch_reading import Collected
from convoforge.generation.batch_results import Collector
from convoforge.generation.batch_search import BatchSearch
from convoforge.generation.endpoint import wrong_provider
from convoforge.generation.jobs import Job, make_intent
from convoforge.generation.recording import asked_of
from convoforge.generation.run_context import RunContext
from convoforge.ledger.attempts import Intent
from convoforge.ledger.budgets import Denied, describe_full
from convoforge.ledger.message_batches import begin_batch, end_batch, list_open_batches, make_custom_id, name_batch, read_parts
from convoforge.ledger.requests import claim, release_claims
from convoforge.models import BatchState
from convoforge.planning.plan import kept_text, worst_cost_pico
from convoforge.planning.spec import Generation

MAX_REQUESTS = 10_000
MAX_BYTES = 64_000_000
"""Maximum requests and bytes in a batch. The API takes 100,000 requests and 256 MB; smaller batches return sooner."""


class Batcher:
    """Submits and collects a dataset's message batches for one run. All costs are reserved in the ledger before they arise."""

    def __init__(self, run: RunContext, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._run = run
        self._now = now
        self._max_bytes = MAX_BYTES
        self._collector = Collector(run, now)
        self._search = BatchSearch(run)

    async def submit(self, jobs: Sequence[Job]) -> tuple[set[int], set[int]]:
        """Submit claimed requests, as many as fit into the budgets; the others become pending again. Returns the ids of those
        submitted, and of those whose batch the API refused.

        Raises `LedgerError`. The API's error for a batch is in its requests' reasons, and stops the run if it affects every
        batch.
        """
        handed: set[int] = set()
        failed: set[int] = set()
        chunks = self._chunks(jobs)
        while chunk := await asyncio.to_thread(next, chunks, None):
            if self._run.state.stopped is not None:
                await self._give_back([job for job, _ in chunk], self._run.state.stopped)
                continue
            taken, left = await self._submit(chunk)
            handed |= taken
            failed |= left
        return handed, failed

    def _chunks(self, jobs: Sequence[Job]) -> Iterator[list[tuple[Job, bytes]]]:
        api = self._run.claude.message_batches()
        texts = [kept_text(job.prompt, self._run.claude.facts, job.settings) for job in jobs]
        crowd = Counter(texts)
        chunk: list[tuple[Job, bytes]] = []
        size = 0
        for job, text in zip(jobs, texts, strict=True):
            name = make_custom_id(job.claimed.cell, job.claimed.draw, job.claimed.attempts + 1)
            request = api.request(name, job.prompt, job.settings, keep=text is not None and crowd[text] > 1)
            if chunk and (len(chunk) >= MAX_REQUESTS or size + len(request) > min(MAX_BYTES, self._max_bytes)):
                yield chunk
                chunk, size = [], 0
            chunk.append((job, request))
            size += len(request) + 1
        if chunk:
            yield chunk

    async def _submit(self, chunk: Sequence[tuple[Job, bytes]]) -> tuple[set[int], set[int]]:
        """Submit one batch. Returns the ids of requests that are in it, as far as known, and of those whose batch was not
        created."""
        batch_id, at = uuid.uuid4().hex, self._now()
        parts = [
            (self._intent(job, batch_id, at), asked_of(job.prompt, self._run.spec.model, job.settings, job.template_version))
            for job, _ in chunk
        ]
        results = await self._run.ledger.awrite(begin_batch, batch_id, parts, at, self._run.base_url)
        taken = [one for one, denied in zip(chunk, results, strict=True) if denied is None]
        ids = {job.claimed.request_id for job, _ in taken}
        left = [job for (job, _), denied in zip(chunk, results, strict=True) if denied is not None]
        if left:
            await self._give_back(left, "the budget has no room for it yet")
        if not taken:
            await self._check_room(next(denied for denied in results if denied is not None))
            return set(), set()
        try:
            made = await self._create([request for _, request in taken], chunk[0][0].settings, at)
        except ClaudeAPIError as error:
            # a refused batch does not mean that each of its requests is refused
            whole = ClaudeAPIError(f"no batch was made: {error}", status=error.status, kind=error.kind)
            await self._collector.give_back(await self._run.ledger.aread(read_parts, batch_id), whole)
            await self._run.ledger.awrite(end_batch, batch_id, "failed", self._now())
            if error.status == 413 and len(taken) > 1:  # a proxy takes less than the API
                self._max_bytes = sum(len(request) for _, request in taken) // 2
                return await self.submit(await self._claim_again([job for job, _ in taken]))
            wait = error.retry_after or 0.0
            if isinstance(error, FatalAPIError | RejectedError):
                self._run.state.stop(str(error), fatal=True)
            elif wait > self._run.spec.retry.patience_seconds:
                self._run.state.rest(self._run.spec.retry.patience_seconds, f"the API asks to wait {span(wait)}: {error}")
            return set(), ids
        if made is not None:
            await self._run.ledger.awrite(name_batch, batch_id, made.id)
            if made.provider != self._run.provider:
                self._run.state.stop(wrong_provider(made.provider, self._run.provider), fatal=True)
        return ids, set()

    async def _claim_again(self, jobs: Sequence[Job]) -> list[Job]:
        """Claim the jobs of a batch that was not created again. Those that others have claimed meanwhile are left out."""
        by_id = {job.claimed.request_id: job for job in jobs}
        return [
            replace(by_id[one.request_id], claimed=one)
            for one in await self._run.ledger.awrite(claim, self._run.owner, list(by_id), self._now())
        ]

    async def _create(self, requests: Sequence[bytes], settings: Generation, since: datetime) -> BatchState | None:
        """Create the batch. Returns None if that is unclear: `collect` looks for it then. Raises the API's error if it refused.

        A server that failed may have created it all the same. Before another attempt the API's list is checked, as a second batch
        would be paid in full.
        """
        api, doubt = self._run.claude.message_batches(), False

        async def create() -> BatchState | None:
            nonlocal doubt
            if doubt and await self._search.may_be_made(api, len(requests), since):
                return None
            try:
                return await api.create(requests, settings)
            except TransientError as error:
                if error.maybe_billed:
                    return None
                doubt = doubt or (error.status is not None and error.status >= 500)
                raise

        try:
            return await self._run.policy.run(create, lambda: self._run.state.stopped is None)
        except ClaudeAPIError:
            if doubt:
                return None
            raise

    async def _check_room(self, denied: Denied) -> None:
        """Stop the run if a budget has no room and no open batch can free some."""
        if await self._run.ledger.aread(list_open_batches, self._run.dataset_id):
            return
        self._run.state.stop(describe_full(denied.scope, denied.spent_pico, denied.limit_pico, denied.reserve_pico))

    def _intent(self, job: Job, batch_id: str, at: datetime) -> Intent:
        reserve = worst_cost_pico(job.prompt, job.settings.max_tokens, self._run.price)
        return make_intent(
            self._run,
            job,
            job.claimed.attempts + 1,
            at,
            reserve,
            owner=batch_id,
            api_key=self._run.key_names[0],
            batch_id=batch_id,
        )

    async def collect(self) -> Collected:
        """Check every open batch of the dataset once, and record the results of those that have ended.

        Raises `ConfigError` for a batch whose key is missing here, and `LedgerError`. Errors of single batches are in the result.
        """
        return await self._collector.collect(await self._run.ledger.aread(list_open_batches, self._run.dataset_id))

    async def _give_back(self, jobs: Iterable[Job], reason: str) -> None:
        await self._run.ledger.awrite(release_claims, self._run.owner, [job.claimed.request_id for job in jobs], reason)
