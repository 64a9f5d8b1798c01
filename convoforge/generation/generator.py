"""Generates one request: permit → intent and reservation → call → parse → answer, usage and cost committed.

A call in flight is never cancelled: it is paid. Once the limiter grants a permit, each call runs as its own task, which the
caller's cancellation does not reach; stopping closes the limiter and waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from convoforge.billing_terms import describe_terms
from convoforge.errors import (
    BudgetExceeded,
    ClaudeAPIError,
    ConvoforgeError,
    FatalAPIError,
    LedgerError,
    LimiterClosed,
    OverloadError,
    RateLimitError,
    RejectedError,
    TransientError,
    span,
)
from convoforge.generation.answering_model import describe_other_model
from convoforge.generation.endpoint import wrong_provider
from convoforge.generation.jobs import Job, make_intent
from convoforge.generation.prompt_cache import CacheTurn, PromptCache, worth_seconds
from convoforge.generation.recording import MAX_ERROR_CHARS, asked_of, check_usable, record_answer, record_failure
from convoforge.generation.run_context import RunContext
from convoforge.ledger.attempts import Completion, Intent, finish_attempts, start_attempts
from convoforge.ledger.budgets import Denied, describe_full, read_budgets
from convoforge.ledger.requests import release_claims
from convoforge.models import Outcome, Provider, Reply, Status, Terms
from convoforge.planning.keys import request_fingerprint
from convoforge.planning.plan import expected_usage, kept_text, worst_cost_pico
from convoforge.planning.thinking import thinking_of
from convoforge.rate import Need, Permit
from convoforge.telemetry import record_attempt

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

MAX_IN_FLIGHT = 1_000
"""Maximum number of connections that the SDK keeps."""

LATE_AT_ONCE = 32
"""Maximum number of calls that ask for a new permit at a time, because their first one became too old."""

_A_YEAR = 366 * 86_400.0

LOOK_AGAIN_SECONDS = 0.5
"""Seconds between two checks for room in a budget: calls of other processes do not signal when they are recorded."""


class Generator:
    """Generates claimed requests of one run, any number at once. All costs are in the ledger before a call returns."""

    def __init__(
        self, run: RunContext, concurrency: int = MAX_IN_FLIGHT, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._run = run
        self._rubric = run.rubric
        self._now = now
        self._dead_keys: set[int] = set()
        self._logged_terms: set[Terms] = set()
        self._resting: dict[int, float] = {}
        self._room = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(concurrency)
        self._late = asyncio.Semaphore(LATE_AT_ONCE)
        self._flying = 0
        self._cache = PromptCache()

    @property
    def flying(self) -> int:
        """Number of calls that have been sent and not answered."""
        return self._flying

    @property
    def waiting_for_cache(self) -> int:
        """Number of requests that wait for the first one to write their common text to the prompt cache."""
        return self._cache.waiting

    async def generate(self, job: Job) -> Outcome:
        """Generate one request and return its outcome. Errors of the API are in the outcome, not raised.

        Raises `LedgerError`, and `ConfigError` for a request that is larger than a limit.
        """
        run_state = self._run.state
        number = job.claimed.attempts

        async def attempt() -> Outcome:
            nonlocal number
            number += 1
            return await self._attempt(job, number)

        try:
            return await self._run.policy.run(attempt, lambda: run_state.stopped is None)
        except RejectedError as error:
            return self._ended(job, Status.FAILED, error, number)
        except (ClaudeAPIError, LimiterClosed, BudgetExceeded, RateLimitError) as error:
            if isinstance(error, LimiterClosed):
                run_state.stop(str(error))
            if not isinstance(error, ClaudeAPIError):
                number -= 1  # the last attempt was not sent
            elif error.final:
                run_state.final.add(job.claimed.request_id)
            await self._give_back(job, str(error))
            return self._ended(job, Status.PENDING, error, number)
        except LedgerError:
            raise
        except Exception as error:
            await self._give_back(job, repr(error)[:MAX_ERROR_CHARS])
            raise

    async def drain(self, grace_seconds: float) -> int:
        """Wait for the calls in flight, at most `grace_seconds`. Returns the number still open."""
        in_flight = self._run.state.in_flight
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while in_flight:  # a task that records an intent starts a call, which is a new task
                    await asyncio.wait(set(in_flight))
        return len(in_flight)

    async def _attempt(self, job: Job, number: int) -> Outcome:
        reserve = worst_cost_pico(job.prompt, job.settings.max_tokens, self._run.price)
        text = kept_text(job.prompt, self._run.claude.facts, job.settings)
        async with self._cache.turn(
            text, worth_seconds(text, self._run.price, self._run.claude.facts.characters_a_token)
        ) as turn:
            call = await self._begin(job, number, reserve, turn)
            if isinstance(call, Denied):
                async with self._room:  # only one waiting request asks at a time: each try takes a permit
                    while isinstance(call, Denied):
                        await self._wait_for_room(call, reserve)
                        call = await self._begin(job, number, reserve, turn)
            return await asyncio.shield(call)

    async def _begin(self, job: Job, number: int, reserve: int, turn: CacheTurn) -> asyncio.Task[Outcome] | Denied:
        sent = replace(job.prompt, system="") if turn.kept else job.prompt  # tokens read from the cache do not count
        usage = expected_usage(sent, self._run.claude.facts, thinking_of(self._run.claude.facts, job.settings).expected_tokens)
        self._run.state.allow(job.epoch)
        await self._in_flight.acquire()  # before the limiter: a request with a permit must not wait again
        try:
            permit = await self._run.limiter.acquire(Need(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens))
        except BaseException:
            self._in_flight.release()
            raise
        return await asyncio.shield(self._launch(self._reserve(job, number, reserve, permit, turn)))

    async def _reserve(
        self, job: Job, number: int, reserve: int, permit: Permit, turn: CacheTurn
    ) -> asyncio.Task[Outcome] | Denied:
        """Write the intent and begin the call: both or neither, even if the caller is cancelled in between."""
        try:
            intent = make_intent(self._run, job, number, self._now(), reserve, self._run.owner, permit.fingerprint)
            denied = await self._run.ledger.batched(start_attempts, intent)
        except BaseException:
            self._give_up(permit)
            raise
        if denied is not None:
            self._give_up(permit)
            return denied
        return self._launch(self._call(job, intent, permit, turn))

    def _give_up(self, permit: Permit) -> None:
        self._run.limiter.settle(permit, None)
        self._in_flight.release()

    def _launch(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._run.state.in_flight.add(task)
        task.add_done_callback(self._landed)
        return task

    def _landed(self, task: asyncio.Task[Any]) -> None:
        """Stop the run after an error that every other request would meet too: a failing ledger, a bug of ours. The caller may be gone."""
        self._run.state.in_flight.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ClaudeAPIError):
            message = str(error) if isinstance(error, LedgerError) else f"an internal error: {repr(error)[:MAX_ERROR_CHARS]}"
            self._run.state.stop(message)

    async def _give_back(self, job: Job, reason: str) -> None:
        await self._run.ledger.awrite(release_claims, self._run.owner, [job.claimed.request_id], reason)

    async def _wait_for_room(self, denied: Denied, reserve: int) -> None:
        """Wait while calls in flight may free room in the budget and the run goes on. Raises `BudgetExceeded` if they cannot."""
        run_state = self._run.state
        while run_state.stopped is None:
            settled = run_state.settled
            book = (await self._run.ledger.awrite(read_budgets, [denied.scope]))[denied.scope]
            spent = book["spent_pico"] + book["maybe_pico"]
            if spent + reserve > denied.limit_pico:
                error = BudgetExceeded(describe_full(denied.scope, spent, denied.limit_pico, reserve))
                run_state.stop(str(error))
                raise error
            if spent + book["reserved_pico"] + reserve <= denied.limit_pico:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(settled.wait(), timeout=LOOK_AGAIN_SECONDS)

    async def _call(self, job: Job, intent: Intent, permit: Permit, turn: CacheTurn) -> Outcome:
        begun, reply = time.monotonic(), None
        try:
            try:
                self._flying += 1
                permit = await self._in_time(permit)
                if permit.fingerprint != intent.api_key:
                    intent = replace(intent, api_key=permit.fingerprint)
                begun = time.monotonic()
                try:
                    reply = await self._run.claude.send(job.prompt, job.settings, permit.key, keep=turn.keep)
                finally:
                    self._run.limiter.settle(permit, reply.usage if reply else None)
            finally:
                self._flying -= 1
                self._in_flight.release()  # before the answer is recorded, so that no call waits for a commit
            latency = _elapsed_ms(begun)
            _check_reply(reply, self._run.provider)
            if turn.keep:
                self._cache.note_usage(job.prompt.system, reply.usage)
            self._run.limiter.learn(permit, reply.rate_headers)
            asked = asked_of(job.prompt, self._run.spec.model, job.settings, job.template_version)
            cell, draw = job.claimed.cell, job.claimed.draw
            score = partial(self._rubric.score, context=job.context)
            recorded = record_answer(
                intent,
                asked,
                cell,
                draw,
                reply,
                self._run.price,
                self._now(),
                latency,
                score=score,
                keep_score=job.keep_score,
                repeats=self._run.state.repeats,
            )
            check_usable(reply, recorded)
            self._run.state.note_answer(None)
        except Exception as error:  # noqa: BLE001 - a bug of ours is recorded like other errors, and raised again
            raised = self._react(permit, error)
            await self._record(self._failure(job, intent, error, reply, _elapsed_ms(begun)))
            self._run.state.tally["errors"] += 1
            raise raised from None
        self._log_terms(reply)
        if not self._run.spec.allow_other_model and (message := describe_other_model(self._run.spec.model, reply.model)):
            self._run.state.other_model(message)
        if recorded.unscored is not None:
            self._run.state.stop(str(recorded.unscored), fatal=True)
        min_score = self._run.spec.quality.min_score
        status = recorded.status(min_score)
        if job.purpose == "conversation":  # before it is recorded, as other calls begin meanwhile
            status = self._run.state.count_answer(status, recorded.faults(min_score), recorded.content_hash)
        self._run.state.note_opening(job.context.persona, job.context.topic, recorded.conversation)
        await self._record(recorded.completion)
        self._count(job, status)
        return recorded.outcome(min_score, intent.attempt - job.claimed.attempts)

    def _log_terms(self, reply: Reply) -> None:
        """Log once the terms that answers are billed under, if they differ from the list price."""
        if reply.terms not in self._logged_terms:
            self._logged_terms.add(reply.terms)
            if message := describe_terms(reply.model or self._run.spec.model, reply.terms):
                _LOG.warning("answers are billed with %s", message)

    async def _in_time(self, permit: Permit) -> Permit:
        """The permit, or a new one if writing the intent took too long: a request sent late would not count in its window."""
        while permit.until < time.monotonic():
            self._run.limiter.settle(permit, None)
            async with self._late:  # a thousand at once would be late again, and use up the rate
                permit = await self._run.limiter.acquire(permit.need)
        return permit

    async def _record(self, completion: Completion) -> None:
        await self._run.ledger.batched(finish_attempts, completion)
        record_attempt(completion)
        self._run.state.cost_pico += completion.cost_pico
        if self._run.state.on_recorded is not None:
            self._run.state.on_recorded(completion)
        self._run.state.wake_waiting()

    def _count(self, job: Job, status: Status) -> None:
        if job.purpose == "judge":
            self._run.state.tally["judged"] += 1
            return
        self._run.state.unanswered.discard(job.claimed.request_id)
        self._run.state.tally[status] += 1
        self._run.state.tally["generated"] += 1

    def _failure(self, job: Job, intent: Intent, error: Exception, reply: Reply | None, latency: int) -> Completion:
        fingerprint = request_fingerprint(self._run.spec.model, job.prompt, job.settings)
        return record_failure(intent, error, reply, self._run.price, self._now(), latency, fingerprint=fingerprint)

    def _react(self, permit: Permit, error: Exception) -> Exception:
        """Apply an error's effects beyond its request (pause, drop a key, stop). Returns the error for the retry loop."""
        self._run.state.note_answer(error)
        match error:
            case OverloadError() | TransientError() if (error.retry_after or 0) > self._run.spec.retry.patience_seconds:
                return self._rest(permit, error)
            case OverloadError() if error.status == 429 or error.kind == "rate_limit_error":
                self._run.limiter.pause(error.retry_after or self._run.spec.retry.base_delay_seconds, permit)
            case FatalAPIError(status=401) if self._keys_left(permit):
                self._run.limiter.drop(permit)
                return TransientError(f"a key was refused, another is tried: {error}", status=401, kind=error.kind)
            case FatalAPIError():
                self._run.state.stop(str(error), fatal=True)
        return error

    def _rest(self, permit: Permit, error: ClaudeAPIError) -> Exception:
        """Handle a Retry-After longer than `patience_seconds`. The key is paused, here and in the shared limits, only for the
        patience: then a later request finds out whether the wait is over. Another key may still have room."""
        patience, wait = self._run.spec.retry.patience_seconds, error.retry_after or 0.0
        self._run.limiter.pause(patience, permit)
        self._resting[permit.key] = time.monotonic() + patience
        busy = {key for key, until in self._resting.items() if until > time.monotonic()} | self._dead_keys
        if len(busy) < self._run.claude.keys:
            return TransientError(f"a key has to rest, another is tried: {error}", status=error.status, kind=error.kind)
        until = f", until {self._now() + timedelta(seconds=wait):%Y-%m-%d %H:%M} UTC" if wait < _A_YEAR else ""
        self._run.state.rest(patience, f"the API asks to wait {span(wait)}{until}, and no more is sent: {error}")
        return error

    def _keys_left(self, permit: Permit) -> bool:
        self._dead_keys.add(permit.key)
        return len(self._dead_keys) < self._run.claude.keys

    def _ended(self, job: Job, status: Status, error: ConvoforgeError, number: int) -> Outcome:
        if job.purpose == "conversation":
            self._run.state.unanswered.add(job.claimed.request_id)
        return Outcome(status=status, reason=str(error), error=error, attempts=number - job.claimed.attempts)


def _check_reply(reply: Reply, expected: Provider) -> None:
    if reply.provider != expected:
        raise FatalAPIError(
            wrong_provider(reply.provider, expected), kind="provider", request_id=reply.request_id, maybe_billed=True
        )


def _elapsed_ms(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
