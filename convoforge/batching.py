"""Requests in message batches: handed over, found again after a crash, collected once. Half the price, answers within a day.

An intent row stands before a batch is made, so that a crash in between leaves a trace: the batch is then found by listing what the
API has, and told from others by the custom ids in its results. Nothing here depends on who made a batch: any process with its key
collects it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from convoforge.answered import tell_other_model
from convoforge.booking import Booked, asked_of, book_answer, book_failure, check_usable
from convoforge.claude import Batches, Claude
from convoforge.claude.batches import HANDOVER_SECONDS
from convoforge.control import Control
from convoforge.endpoint import wrong_provider
from convoforge.errors import ClaudeAPIError, ConfigError, DoomError, RejectedError, TransientError
from convoforge.generator import Job, budget_limits
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import Completion, Denied, Intent
from convoforge.ledger.batches import (
    OpenBatch,
    Part,
    begin_batch,
    custom_id,
    end_batch,
    finish_parts,
    known_at_api,
    name_batch,
    open_batches,
    read_parts,
)
from convoforge.ledger.draws import unclaim
from convoforge.ledger.runs import run_over
from convoforge.models import BatchResult, BatchState, Provider, Status
from convoforge.plan import kept_text, worst_cost_pico
from convoforge.pricing import Price, usd
from convoforge.retry import Policy
from convoforge.spec import DatasetSpec, Generation

MOST_REQUESTS = 10_000
MOST_BYTES = 64_000_000
"""A batch of ours at the most. The API takes 100,000 requests and 256 MB; smaller ones come back sooner."""

WRITTEN_AT_ONCE = 200

SKEW = timedelta(minutes=10)
"""So much this machine's clock and the API's may differ."""

KNOWN_WITHIN = timedelta(seconds=60)
"""So long after its making a batch may be unknown to the API itself: 404 for some seconds is a thing that people have met."""

SETTLE = timedelta(seconds=5)
"""So long after its making a batch may take to be listed."""


@dataclass(slots=True)
class Collected:
    """What one look at the open batches has found: answers to this run's requests by what they count as, and what they cost; how many
    were to requests of other runs; requests that stay without an answer; how many batches go on."""

    tally: Counter[str] = field(default_factory=Counter)
    failed: set[int] = field(default_factory=set)
    cost_pico: int = 0
    earlier: int = 0
    going_on: int = 0

    def count(self, status: Status, done: Completion, *, ours: bool) -> None:
        """Count one answer."""
        if not ours:
            self.earlier += 1
            return
        self.tally[status] += 1
        self.tally["generated"] += 1
        self.cost_pico += done.cost_pico


class Batcher:
    """The batches of one dataset, for one run. Everything it spends is in the ledger before it is spent."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        claude: Claude,
        names: Sequence[str],
        control: Control,
        spec: DatasetSpec,
        price: Price,
        provider: Provider,
        run_id: str,
        dataset_id: int,
        owner: str,
        policy: Policy | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._claude = claude
        self._names = names
        self._control = control
        self._spec = spec
        self._price = price
        self._provider = provider
        self._run_id = run_id
        self._dataset_id = dataset_id
        self._owner = owner
        self._policy = policy or Policy(spec.retry)
        self._now = now

    async def submit(self, jobs: Sequence[Job]) -> tuple[set[int], set[int]]:
        """Hand over claimed requests, as many as the budgets have room for; the others are pending again. Returns the ids of those that
        were handed over, and of those whose batch the API did not take.

        Raises `LedgerError`. What the API says of a batch is in the requests' reasons, and stops the run where no other would fare better.
        """
        handed: set[int] = set()
        failed: set[int] = set()
        chunks = self._chunks(jobs)
        while chunk := await asyncio.to_thread(next, chunks, None):
            if self._control.stopped is not None:
                await self._give_back([job for job, _ in chunk], self._control.stopped)
                continue
            taken, made = await self._submit(chunk)
            (handed if made else failed).update(taken)
        return handed, failed

    def _chunks(self, jobs: Sequence[Job]) -> Iterator[list[tuple[Job, bytes]]]:
        api = Batches(self._claude)
        texts = [kept_text(job.prompt, self._claude.facts, job.settings) for job in jobs]
        crowd = Counter(texts)
        chunk: list[tuple[Job, bytes]] = []
        size = 0
        for job, text in zip(jobs, texts, strict=True):
            name = custom_id(job.claimed.cell, job.claimed.draw, job.claimed.attempts + 1)
            request = api.request(name, job.prompt, job.settings, keep=text is not None and crowd[text] > 1)
            if chunk and (len(chunk) >= MOST_REQUESTS or size + len(request) > MOST_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append((job, request))
            size += len(request) + 1
        if chunk:
            yield chunk

    async def _submit(self, chunk: Sequence[tuple[Job, bytes]]) -> tuple[list[int], bool]:
        """The ids for which there was room, and whether they are in a batch now, as far as anybody knows."""
        batch_id, at = uuid.uuid4().hex, self._now()
        parts = [
            (self._intent(job, batch_id, at), asked_of(job.prompt, self._spec.model, job.settings, job.template_version))
            for job, _ in chunk
        ]
        results = await self._ledger.awrite(begin_batch, batch_id, parts, at)
        taken = [one for one, denied in zip(chunk, results, strict=True) if denied is None]
        ids = [job.claimed.request_id for job, _ in taken]
        left = [job for (job, _), denied in zip(chunk, results, strict=True) if denied is not None]
        if left:
            await self._give_back(left, "the budget has no room for it yet")
        if not taken:
            await self._check_room(next(denied for denied in results if denied is not None))
            return [], False
        try:
            made = await self._create([request for _, request in taken], chunk[0][0].settings)
        except ClaudeAPIError as error:
            # that a batch was refused says nothing of each request in it
            whole = ClaudeAPIError(f"no batch was made: {error}", status=error.status, kind=error.kind)
            await self._fail(await self._ledger.aread(read_parts, batch_id), whole)
            await self._ledger.awrite(end_batch, batch_id, "failed", self._now())
            if isinstance(error, DoomError | RejectedError):
                self._control.stop(str(error), doomed=True)
            return ids, False
        if made is not None:
            await self._ledger.awrite(name_batch, batch_id, made.id)
            if made.provider != self._provider:
                self._control.stop(wrong_provider(made.provider, self._provider), doomed=True)
        return ids, True

    async def _create(self, requests: Sequence[bytes], settings: Generation) -> BatchState | None:
        """The batch, made; None where nobody knows whether it was: `collect` looks for it. Raises what the API said where it was not."""

        async def create() -> BatchState | None:
            try:
                return await Batches(self._claude).create(requests, settings)
            except TransientError as error:
                if error.maybe_billed:
                    return None
                raise

        return await self._policy.run(create, lambda: self._control.stopped is None)

    async def _check_room(self, denied: Denied) -> None:
        """Stop the run where a budget has no room and nothing under way can give some back."""
        if await self._ledger.aread(open_batches, self._dataset_id):
            return
        spent, limit = usd(denied.spent_pico), usd(denied.limit_pico)
        self._control.stop(f"{denied.scope.partition(':')[0]} budget reached at ${spent:.2f} of ${limit:.2f}")

    def _intent(self, job: Job, batch_id: str, at: datetime) -> Intent:
        return Intent(
            request_id=job.claimed.request_id,
            attempt=job.claimed.attempts + 1,
            run_id=self._run_id,
            dataset_id=self._dataset_id,
            owner=batch_id,
            provider=self._provider,
            model=self._spec.model,
            template=job.template,
            api_key=self._names[0],
            price=self._price.text,
            started_at=at,
            reserve_pico=worst_cost_pico(job.prompt, job.settings.max_tokens, self._price),
            limits=budget_limits(self._spec.budget, self._run_id, self._dataset_id, at),
            batch_id=batch_id,
        )

    async def collect(self) -> Collected:
        """Look at every open batch of the dataset once, and write down the results of those that have ended.

        Raises `ConfigError` for a batch whose key is not here, `LedgerError`, and `ClaudeAPIError` where the API does not answer: what
        was read till then is kept, and the next look goes on from there.
        """
        found = Collected()
        for batch in await self._ledger.aread(open_batches, self._dataset_id):
            found.going_on += not await self._look(batch, found)
        return found

    async def _look(self, batch: OpenBatch, found: Collected) -> bool:
        """Whether a batch is over, its results written."""
        api = self._api(batch)
        parts = await self._ledger.aread(read_parts, batch.id)
        api_id = batch.api_id
        if api_id is None:
            like_it = [one async for one in self._nameless(api, batch)]
            api_id = await self._recognise(api, like_it, parts)
            if api_id is None:
                return all(one.ended for one in like_it) and await self._never_made(batch, parts, found)
            await self._ledger.awrite(name_batch, batch.id, api_id)
        why = "the batch has ended without a result for this request; it may have been billed"
        read = 0
        try:
            state = await api.look(api_id)
            if state.provider != batch.provider:
                self._control.stop(wrong_provider(state.provider, batch.provider), doomed=True)
                return False
            if not state.ended:
                return False
            async for some in _grouped(api.results(api_id, self._spec.generation)):
                read += len(some)
                await self._write(batch, [(parts.pop(one.custom_id), one) for one in some if one.custom_id in parts], found)
            if read < state.requests:
                return False  # not all of them came: they are paid, and another look may bring them
        except RejectedError as error:
            if error.status != 404:
                raise
            if self._now() - batch.created_at < KNOWN_WITHIN:
                return False
            why = f"the API knows batch {api_id} no more; it may have been billed"
        found.failed |= await self._fail(parts, ClaudeAPIError(why, kind="lost", maybe_billed=True))
        await self._ledger.awrite(end_batch, batch.id, "ended", self._now())
        return True

    def _api(self, batch: OpenBatch) -> Batches:
        if batch.api_key not in self._names:
            raise ConfigError(
                f"batch {batch.api_id or batch.id} was made under another API key ({batch.api_key}): "
                "only with that one in ANTHROPIC_API_KEY can its answers be collected"
            )
        return Batches(self._claude, self._names.index(batch.api_key))

    async def _nameless(self, api: Batches, batch: OpenBatch) -> AsyncIterator[BatchState]:
        """The batches at the API that may be one whose name was never written down: the process died, or the answer was lost."""
        known = await self._ledger.aread(known_at_api)
        async for one in api.since(batch.created_at - SKEW):
            if one.id not in known and one.requests == batch.requests:
                yield one

    async def _recognise(self, api: Batches, like_it: Iterable[BatchState], parts: Mapping[str, Part]) -> str | None:
        """The one of `like_it` that holds `parts`: it is known by the names in its results."""
        for one in like_it:
            if one.ended:
                async for result in api.results(one.id, self._spec.generation):
                    if result.custom_id in parts:
                        return one.id
                    break
        return None

    async def _never_made(self, batch: OpenBatch, parts: Mapping[str, Part], found: Collected) -> bool:
        """Give the requests of a batch back that the API does not have, once nobody can be about to make it any more."""
        age = self._now() - batch.created_at
        gone = batch.run_id == self._run_id or await self._ledger.aread(run_over, batch.run_id, self._now()) is not None
        if age < SETTLE or (not gone and age < timedelta(seconds=HANDOVER_SECONDS) + SETTLE):
            return False
        found.failed |= await self._fail(parts, ClaudeAPIError("the batch was never made: nothing was sent", kind="never_made"))
        await self._ledger.awrite(end_batch, batch.id, "failed", self._now())
        return True

    async def _write(self, batch: OpenBatch, results: Sequence[tuple[Part, BatchResult]], found: Collected) -> None:
        """Write down some results, and count them in this run."""
        at, least = self._now(), self._spec.quality.min_score
        latency = max(0, round((at - batch.created_at).total_seconds() * 1000))
        completions: list[Completion] = []
        booked: dict[tuple[int, int], Booked] = {}
        for part, one in results:
            price = Price.parse(part.intent.price)
            if one.reply is None:
                error = one.error or ClaudeAPIError("no result")
                completions.append(book_failure(part.intent, error, None, price, at, latency, sent=part.asked.sent, pending=True))
                found.failed.add(part.intent.request_id)
                if isinstance(error, DoomError):
                    self._control.stop(str(error), doomed=True)
                if isinstance(error, RejectedError):
                    self._control.answered(error)
                continue
            reply = replace(one.reply, request_id=one.message_id)
            answer = book_answer(part.intent, part.asked, part.cell, part.draw, reply, price, at, latency)
            try:
                check_usable(reply, answer)
            except TransientError as error:  # it will be no better another time
                completions.append(
                    book_failure(part.intent, error, reply, price, at, latency, sent=part.asked.sent, pending=True)
                )
                found.failed.add(part.intent.request_id)
                continue
            self._control.answered(None)
            if not self._spec.allow_other_model and (said := tell_other_model(part.intent.model, reply.model)):
                self._control.other_model(said)
            completions.append(answer.completion)
            booked[part.intent.request_id, part.intent.attempt] = answer
        for key in await self._ledger.awrite(finish_parts, completions):
            if key in booked:
                found.count(booked[key].status(least), booked[key].completion, ours=batch.run_id == self._run_id)

    async def _fail(self, parts: Mapping[str, Part], error: ClaudeAPIError) -> set[int]:
        """Give the requests of `parts` back, pending, without an answer. Returns their ids."""
        at = self._now()
        failures = [
            book_failure(part.intent, error, None, self._price, at, 0, sent=part.asked.sent, pending=True)
            for part in parts.values()
        ]
        for start in range(0, len(failures), WRITTEN_AT_ONCE):
            await self._ledger.awrite(finish_parts, failures[start : start + WRITTEN_AT_ONCE])
        return {part.intent.request_id for part in parts.values()}

    async def _give_back(self, jobs: Iterable[Job], reason: str) -> None:
        await self._ledger.awrite(unclaim, self._owner, [job.claimed.request_id for job in jobs], reason)


async def _grouped(results: AsyncIterator[BatchResult]) -> AsyncIterator[list[BatchResult]]:
    some: list[BatchResult] = []
    async for one in results:
        some.append(one)
        if len(some) == WRITTEN_AT_ONCE:
            yield some
            some = []
    if some:
        yield some
