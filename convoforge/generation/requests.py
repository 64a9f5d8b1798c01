"""Generates one conversation, or up to a hundred, outside any dataset: the seed's generator, for products and for trials.

Ad-hoc requests carry a nonce: two identical ones give two conversations. The ledger keeps them, like everything that is paid for,
in the dataset `adhoc`. A generator may live for weeks and serve many callers: one caller's error does not stop the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from convoforge.background import background_task
from convoforge.dataset.acceptance import judge_quality
from convoforge.errors import ConfigError, ConvoforgeError, LedgerError, LimiterClosed, RateLimitError, RejectedError
from convoforge.generation.jobs import Job
from convoforge.generation.kept_requests import KeptRequests
from convoforge.generation.lasting_run_state import LastingRunState
from convoforge.generation.run import OpenLimiter, Run, open_run
from convoforge.ledger import Ledger
from convoforge.ledger.adhoc_requests import (
    KnownKey,
    close_batch,
    drop_unsent,
    end_key,
    open_batch,
    read_outcome,
    register_named,
    sweep_unsent,
    take_key,
)
from convoforge.ledger.attempts import Completion
from convoforge.ledger.budgets import list_budget_scopes, name_account, read_spent
from convoforge.ledger.requests import Claimed
from convoforge.ledger.runs import begin_run, close_run
from convoforge.models import ConversationRequest, Outcome, Provider, Quality, Status
from convoforge.planning.model_facts import check_max_tokens
from convoforge.planning.plan import Cell, with_format_instructions
from convoforge.planning.spec import ADHOC, DatasetSpec
from convoforge.planning.templates import Library
from convoforge.pricing import pico, price_of, usd
from convoforge.rate import LimiterStatus
from convoforge.scoring import ScoringContext
from convoforge.settings import Settings

MAX_IN_A_BATCH = 100
DEFAULT_MODEL = "claude-sonnet-5-5"

_LOG = logging.getLogger(__name__)


class RequestGenerator:
    """Generates single requests and batches of up to 100. Made by `open_generator`; any number of callers at once."""

    def __init__(self, run: Run, run_state: LastingRunState, library: Library, spec: DatasetSpec, provider: Provider) -> None:
        self._provider = provider
        self._run = run
        self._run_state = run_state
        self._library = library
        self._spec = spec
        self._under_way: set[asyncio.Task[Outcome]] = set()
        self._unanswered: asyncio.Queue[int] = asyncio.Queue()
        self._beginning = asyncio.Lock()
        self._has_begun = False

    @property
    def model(self) -> str:
        """The model that generates."""
        return self._spec.model

    @property
    def model_provider(self) -> Provider:
        """Which provider answers: the real API, or the simulator."""
        return self._provider

    @property
    def library(self) -> Library:
        """The templates and personas that requests can name."""
        return self._library

    @property
    def ledger(self) -> Ledger:
        """The ledger that keeps the requests."""
        return self._run.context.ledger

    @property
    def kept(self) -> KeptRequests:
        """What the ledger keeps of single requests."""
        return KeptRequests(self.ledger, self._provider, self._spec.quality.min_score)

    @property
    def in_flight(self) -> int:
        """Number of calls in flight."""
        return self._run.generator.flying

    @property
    def stopped(self) -> str | None:
        """The reason given to `stop`, after which nothing is sent. None while it works."""
        return self._run_state.stopped

    def watch(self, note: Callable[[Completion, int], None]) -> None:
        """Call `note` with each call that has been recorded, and with the minimum score of an accepted conversation."""
        self._run_state.on_recorded = lambda done: note(done, self._spec.quality.min_score)

    async def budgets_left(self) -> dict[str, Decimal]:
        """US dollars left in each budget that has a cap: run, dataset, day. Reads one row of each."""
        budget, run = self._spec.budget, self._run.context
        account = name_account(budget.account, run.provider)
        scopes = list_budget_scopes(run.run_id, run.dataset_id, datetime.now(UTC), account)
        caps = {"run": budget.run_usd, "dataset": budget.dataset_usd, "day": budget.day_usd}
        spent = await self.ledger.aread(read_spent, scopes)
        return {kind: cap - usd(spent[scope]) for (kind, cap), scope in zip(caps.items(), scopes, strict=True) if cap is not None}

    def resting(self) -> RateLimitError | None:
        """The error for new requests while the API asks for a longer wait than `patience_seconds`, with the seconds left in
        `retry_after`. None while it takes calls."""
        left = self._run_state.rests_until - time.monotonic()
        return RateLimitError(self._run_state.rests_why, retry_after=left) if left > 0 else None

    def refusal(self) -> LimiterClosed | RateLimitError | None:
        """The error for a request that would not be sent now, with `retry_after` if known; None if it would be sent."""
        if self.stopped is not None:
            return LimiterClosed(self.stopped)
        return self._run_state.breaker.refusal() or self.resting()

    async def check(self) -> str:
        """Check whether requests are served. Returns the last error if the next request has to test it; empty if all is well.

        Raises the error that a caller would get: `LimiterClosed`, `RateLimitError`, `LedgerError`.
        """
        ledger = self.ledger
        await ledger.check_room()
        if ledger.waiting:
            raise LimiterClosed(f"the ledger does not answer ({ledger.waiting})", retry_after=5)
        if (error := self.refusal()) is not None:
            raise error
        return self._run_state.breaker.reason

    async def generate(self, request: ConversationRequest, *, name: str | None = None) -> Outcome:
        """Generate one request and return its outcome: a conversation with quality and cost, or one of our errors in `error`.

        Raises `ConfigError` for an invalid request (unknown template, parameter, tier), before anything is paid, and
        `LedgerError`. Cancelling withdraws a request that still waits. A call already sent is paid: it continues and is recorded.
        The request can be found by its `name` (up to 32 characters; a new one if not given); if it was answered already, it is
        not sent again.
        """
        await self.ledger.check_room()
        if (error := self.refusal()) is not None:
            return Outcome(status=Status.PENDING, reason=str(error), error=error)
        task = asyncio.create_task(self._try(request, name or uuid.uuid4().hex))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await task

    async def generate_batch(
        self,
        requests: Sequence[ConversationRequest],
        *,
        concurrency: int = 3,
        stop_on_error: bool = False,
        batch: str | None = None,
    ) -> list[Outcome | None]:
        """Generate 1 to 100 requests, `concurrency` at a time, and return their outcomes in the order of the requests.

        A request that raises has its error in `error`. With `stop_on_error` no request is started after the first without a
        conversation; None stands for those not started. The summary is kept under the id `batch` (32 characters; a new one if not
        given), which also names the requests, see `name_in_batch`. Raises `ConfigError` for a wrong number of requests or
        `concurrency`.
        """
        if not 1 <= len(requests) <= MAX_IN_A_BATCH:
            raise ConfigError(f"a batch takes 1 to {MAX_IN_A_BATCH} requests, not {len(requests)}")
        if concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency}: give 1 or more")
        slots = asyncio.Semaphore(concurrency)
        failed = False

        batch = batch or uuid.uuid4().hex
        names = [name_in_batch(batch, index) for index in range(len(requests))]
        ledger, run = self.ledger, (self._run.context.dataset_id, self._run.context.run_id)
        await ledger.check_room()
        await self._begin()
        await ledger.awrite(open_batch, batch, *run, names, datetime.now(UTC))

        async def one(request: ConversationRequest, name: str) -> Outcome | None:
            nonlocal failed
            async with slots:
                if failed and stop_on_error:
                    return None
                try:
                    outcome = await self.generate(request, name=name)
                except ConvoforgeError as error:
                    outcome = Outcome(status=Status.FAILED, reason=str(error), error=error)
                failed = failed or outcome.conversation is None
                return outcome

        outcomes = await asyncio.gather(*map(one, requests, names))
        successful = sum(outcome is not None and outcome.conversation is not None for outcome in outcomes)
        skipped = outcomes.count(None)
        paid = pico(sum((outcome.cost_usd for outcome in outcomes if outcome), start=Decimal(0)))
        counts = (successful, len(outcomes) - successful - skipped, skipped)
        await ledger.awrite(close_batch, batch, *counts, paid, datetime.now(UTC))
        return outcomes

    def status(self) -> LimiterStatus:
        """Current use of the rate limit. `queue_length` includes requests that wait for anything else."""
        limiter = self._run.context.limiter.status()
        return replace(limiter, queue_length=max(limiter.queue_length, len(self._under_way) - self._run.generator.flying))

    @property
    def waiting_for_cache(self) -> int:
        """Number of queued requests that wait for the first one to fill the prompt cache."""
        return self._run.generator.waiting_for_cache

    def stop(self, reason: str) -> None:
        """Send no more requests: waiting and new ones end as pending, with `LimiterClosed(reason)`. Calls in flight continue."""
        self._run_state.end(reason)

    async def drain(self, grace_seconds: float) -> None:
        """Wait until no call is in flight. Calls still open after `grace_seconds` are abandoned and recorded as maybe billed."""
        if under_way := self._under_way | self._run_state.in_flight:
            await asyncio.wait(under_way, timeout=grace_seconds)
        for call in self._run_state.in_flight:
            call.cancel()
        while under_way := self._under_way | self._run_state.in_flight:
            await asyncio.wait(under_way)

    async def _begin(self) -> None:
        """Record the run before its first request: a server that nobody asks for anything leaves none."""
        async with self._beginning:
            if not self._has_begun:
                run = self._run.context
                await self.ledger.awrite(begin_run, run.run_id, run.dataset_id, run.spec, run.owner, None, datetime.now(UTC))
                self._has_begun = True

    async def _try(self, request: ConversationRequest, name: str) -> Outcome:
        """Generate, and report the outcome to the circuit breaker if this is the request that it let through."""
        breaker = self._run_state.breaker
        if not breaker.enter():
            return await self._generate(request, name)
        worked = False
        try:
            outcome = await self._generate(request, name)
            worked = outcome.kind is not None or isinstance(outcome.error, RejectedError)
        finally:
            if breaker.probing:
                breaker.leave(worked=worked)
        return outcome

    async def _generate(self, request: ConversationRequest, name: str) -> Outcome:
        template = self._library.template(request.template)
        template.check_tier(request.tier)
        wish = {name: value for name in ("max_tokens", "temperature") if (value := getattr(request, name)) is not None}
        settings = self._spec.generation.model_copy(update=wish)
        check_max_tokens(self._run.context.facts, settings)
        prompt = with_format_instructions(
            template.render(request, self._library.persona(request.persona)),
            structured=self._run.context.facts.uses_schema(settings),
            candidates=settings.candidates,
        )
        epoch = self._run_state.breaker.trips
        cell = Cell(name, request.persona, request.emotion, request.topic, request.tier, template.name)
        await self._begin()
        run = self._run
        registering = asyncio.create_task(
            self.ledger.awrite(
                register_named, run.context.dataset_id, cell, request.model_dump_json(), run.context.owner, datetime.now(UTC)
            )
        )
        try:
            request_id, claimed = await asyncio.shield(registering)
        except asyncio.CancelledError:  # the ledger may have recorded it all the same
            registering.add_done_callback(self._registered_in_vain)
            raise
        if claimed is None:
            held = await self.ledger.aread(read_outcome, request_id, self._judge)
            assert held is not None
            return held
        answered = False
        try:
            context = ScoringContext(
                self._spec.name, template.name, request.persona, request.emotion, request.topic, request.tier, request.parameters
            )
            job = Job(claimed, prompt, settings, template.name, template.label, epoch, context, keep_score=True)
            outcome = await run.generator.generate(job)
            answered = outcome.kind is not None
        finally:
            if not answered:
                self._unanswered.put_nowait(request_id)
        return outcome

    def _judge(self, quality: Quality, decision: str | None = None) -> Status:
        return judge_quality(quality, self._spec.quality.min_score, decision)[0]

    def _registered_in_vain(self, registering: asyncio.Task[tuple[int, Claimed | None]]) -> None:
        if not registering.cancelled() and registering.exception() is None and registering.result()[1] is not None:
            self._unanswered.put_nowait(registering.result()[0])

    async def tidy(self) -> None:
        """Release the claims of requests that ended without an answer, and delete the rows of those never sent. Runs until cancelled."""
        while True:
            await self.tidy_once(await self._unanswered.get())

    async def tidy_once(self, *ids: int) -> None:
        """Do so for these requests and all that wait for it now."""
        unanswered = [*ids]
        for _ in range(2):  # an intent being recorded when its caller left may become a call
            if in_flight := set(self._run_state.in_flight):
                await asyncio.wait(in_flight)
        while not self._unanswered.empty():
            unanswered.append(self._unanswered.get_nowait())
        try:
            await self.ledger.awrite(drop_unsent, self._run.context.owner, unanswered)
        except LedgerError as error:  # they are deleted when the next generator opens
            _LOG.warning("%d requests that were not answered could not be cleared away: %s", len(unanswered), error)

    async def take_key(self, key: str, fingerprint: str) -> KnownKey:
        """Take a caller's key for this process, unless another process works on it. Returns the key's state."""
        now, nonce = datetime.now(UTC), uuid.uuid4().hex
        return await self.ledger.awrite(take_key, key, fingerprint, nonce, self._run.context.owner, now)

    async def end_key(self, key: str, status: int | None, response: str | None) -> None:
        """End the work for a caller's key, and keep its response if there is one to repeat."""
        await self.ledger.awrite(end_key, key, status, response)


@asynccontextmanager
async def open_generator(
    *,
    settings: Settings | None = None,
    model: str | None = None,
    simulate: bool = False,
    spec: DatasetSpec | None = None,
    open_limiter: OpenLimiter | None = None,
) -> AsyncIterator[RequestGenerator]:
    """Open a generator, and check key and model. `spec` sets model, limits, retries and budget; default: the seed's.

    Its first request begins a run in the ledger. At the end it waits for calls in flight, as long as one may take. Raises
    `ConfigError`, `FatalAPIError` or `LedgerError` before anything is paid.
    """
    if spec is not None and model is not None:
        raise ConfigError(f"model {model}: the spec says the model already: leave out one of the two")
    settings = settings or Settings()
    spec = spec or default_spec(model or settings.model or DEFAULT_MODEL)
    unjudged = spec.quality.model_copy(update={"judge": None})  # nobody waits for a judge here
    spec = spec.model_copy(update={"name": ADHOC, "quality": unjudged})
    provider: Provider = "simulator" if simulate else "anthropic"
    price = price_of(spec.model, overrides=spec.prices)
    run_state = LastingRunState()
    async with open_run(
        spec, provider=provider, price=price, settings=settings, run_state=run_state, open_limiter=open_limiter, begins=False
    ) as run:
        opened = RequestGenerator(run, run_state, Library.at(settings.config_dir), spec, provider)
        await run.context.ledger.awrite(sweep_unsent, run.context.dataset_id)
        try:
            async with background_task(opened.tidy()):
                yield opened
        finally:
            opened.stop("the generator was closed")
            await opened.drain(spec.retry.timeout_seconds + 5)
            await opened.tidy_once()
            await run.context.ledger.awrite(close_run, run.context.run_id, *_summary(run_state), datetime.now(UTC))


def default_spec(model: str) -> DatasetSpec:
    """The seed's defaults, for requests that belong to no dataset."""
    anything = {axis: ["any"] for axis in ("persona", "emotion", "topic", "tier")}
    return DatasetSpec.model_validate({"name": ADHOC, "model": model, "templates": ["any"], "axes": anything})


def name_in_batch(batch: str, index: int) -> str:
    """The name of a request in a batch: 32 hex digits, always the same for the same batch and index."""
    return hashlib.sha256(f"{batch}/{index}".encode()).hexdigest()[:32]


def _summary(run_state: LastingRunState) -> tuple[str, str, dict[str, object]]:
    """The run's final state, message and report."""
    generated = run_state.tally["generated"]
    report = {"generated": generated, "cost_usd": f"{usd(run_state.cost_pico):f}"}
    return (
        ("failed", run_state.breaker.reason or run_state.stopped or "", report)
        if run_state.fatal or run_state.breaker.reason
        else ("completed", f"{generated} generated", report)
    )
