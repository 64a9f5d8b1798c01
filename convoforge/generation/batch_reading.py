"""Reads and records the results of one message batch: each answer once, even if it is read more than once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from convoforge.claude import MessageBatchClient
from convoforge.errors import ClaudeAPIError, FatalAPIError, RejectedError, TransientError
from convoforge.generation.answering_model import describe_other_model
from convoforge.generation.endpoint import wrong_provider
from convoforge.generation.recording import RecordedAnswer, check_usable, record_answer, record_failure
from convoforge.generation.run_context import RunContext
from convoforge.ledger.attempts import Completion, Intent
from convoforge.ledger.message_batches import BatchRequest, OpenBatch, finish_parts
from convoforge.models import AnswerKind, BatchResult, Status, UnreadableLine
from convoforge.pricing import Price

WRITTEN_AT_ONCE = 200
"""Maximum number of results in one transaction."""

READINGS = 2
"""Maximum number of times to read a batch's results in one check, if some were missing or unreadable."""


@dataclass(slots=True)
class Collected:
    """The result of one check of the open batches: counts of answers to this run's requests by status, and their cost; `earlier`:
    answers to other runs' requests; `failed`: ids of requests that get no answer; `going_on`: batches that remain open.
    `troubles` say why open batches have brought nothing, `notes` what was wrong with ended ones."""

    tally: Counter[str] = field(default_factory=Counter)
    failed: set[int] = field(default_factory=set)
    cost_pico: int = 0
    earlier: int = 0
    going_on: int = 0
    troubles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fail(self, intent: Intent) -> None:
        """Note a request that gets no answer. A conversation that is not judged has not failed: it waits for a judge."""
        if intent.purpose == "conversation":
            self.failed.add(intent.request_id)

    def count(self, status: Status, done: Completion, *, ours: bool) -> None:
        """Count one answer."""
        if not ours:
            self.earlier += 1
            return
        self.tally[status] += 1
        self.tally["generated"] += 1
        self.cost_pico += done.cost_pico


@dataclass(slots=True)
class Reading:
    """One complete reading of a batch's results. `names` have a readable result, `unreadable` only an unreadable line; `nameless`
    lines may replace a result, `foreign` lines do not; `cut` is the name on the last line if its end is missing."""

    names: set[str] = field(default_factory=set)
    unreadable: dict[str, ClaudeAPIError] = field(default_factory=dict)
    nameless: list[ClaudeAPIError] = field(default_factory=list)
    foreign: list[ClaudeAPIError] = field(default_factory=list)
    cut: str | None = None

    def note_unreadable(self, line: UnreadableLine) -> None:
        """Record an unreadable line, under its name if it has one."""
        if line.custom_id is not None:
            self.unreadable.setdefault(line.custom_id, line.error)
            self.cut = line.custom_id if line.cut else None
        else:
            (self.nameless if line.in_place_of_one and not line.cut else self.foreign).append(line.error)

    @property
    def named(self) -> int:
        """Number of results, readable or not, whose request is known."""
        return len(self.names | self.unreadable.keys())

    @property
    def came(self) -> int:
        """Number of results, readable or not. Nameless lines only count if there are named ones too."""
        return self.named and self.named + len(self.nameless)


class ResultReader:
    """Reads results for one run, and adds them to its counts."""

    def __init__(self, run: RunContext, now: Callable[[], datetime]) -> None:
        self._run = run
        self._rubric = run.rubric
        self._now = now

    async def read(self, api: MessageBatchClient, batch: OpenBatch, parts: dict[str, BatchRequest], found: Collected) -> Reading:
        """Read and record the results of a batch; if some were missing or unreadable, read again at once. Requests with a result
        are removed from `parts`, even if reading fails, which raises a `ClaudeAPIError`."""
        reading = await self._read_once(api, batch, parts, found)
        for _ in range(READINGS - 1):
            if parts:
                reading = await self._read_once(api, batch, parts, found)
        if reading.foreign and not reading.named:
            raise reading.foreign[0]  # nothing in it was a result of the API
        return reading

    async def _read_once(
        self, api: MessageBatchClient, batch: OpenBatch, parts: dict[str, BatchRequest], found: Collected
    ) -> Reading:
        assert batch.api_id is not None
        reading, failures = Reading(), dict[str, BatchResult]()
        answers: list[tuple[BatchRequest, BatchResult]] = []
        try:
            async with aclosing(api.results(batch.api_id, self._run.spec.generation)) as results:
                async for one in results:
                    if isinstance(one, UnreadableLine):
                        reading.note_unreadable(one)
                        continue
                    reading.names.add(one.custom_id)
                    if one.custom_id not in parts:
                        continue  # already recorded, or not one of ours
                    if one.reply is None:
                        failures.setdefault(one.custom_id, one)  # recorded at the end: another line may hold the answer
                        continue
                    if one.reply.provider != batch.provider:
                        raise FatalAPIError(wrong_provider(one.reply.provider, batch.provider), kind="provider")
                    answers.append((parts.pop(one.custom_id), one))
                    if len(answers) == WRITTEN_AT_ONCE:
                        some, answers = answers, []
                        await self._write(batch, some, found)
        finally:
            for name, one in failures.items():
                if name not in parts:
                    continue
                if isinstance(one.error, TransientError) and one.error.maybe_billed:
                    reading.unreadable[name] = one.error
                else:
                    answers.append((parts.pop(name), one))
            for at in range(0, len(answers), WRITTEN_AT_ONCE):
                await self._write(batch, answers[at : at + WRITTEN_AT_ONCE], found)
        return reading

    async def _write(self, batch: OpenBatch, results: Sequence[tuple[BatchRequest, BatchResult]], found: Collected) -> None:
        """Record some results, and add them to this run's counts."""
        at, min_score = self._now(), self._run.spec.quality.min_score
        latency = max(0, round((at - batch.created_at).total_seconds() * 1000))
        completions: list[Completion] = []
        recorded: dict[tuple[int, int], tuple[RecordedAnswer, Status]] = {}
        for part, one in results:
            price = Price.parse(part.intent.price)
            if one.reply is None:
                error = one.error or ClaudeAPIError("no result")
                completions.append(
                    record_failure(part.intent, error, None, price, at, latency, fingerprint=part.asked.fingerprint, pending=True)
                )
                found.fail(part.intent)
                if isinstance(error, FatalAPIError):
                    self._run.state.stop(str(error), fatal=True)
                if isinstance(error, RejectedError):
                    self._run.state.note_answer(error)
                continue
            reply = replace(one.reply, request_id=one.message_id)
            context = replace(part.context, dataset=self._run.spec.name, parameters=self._run.spec.parameters)
            score = partial(self._rubric.score, context=context)
            answer = record_answer(
                part.intent,
                part.asked,
                part.cell,
                part.draw,
                reply,
                price,
                at,
                latency,
                score=score,
                repeats=self._run.state.repeats,
            )
            try:
                check_usable(reply, answer)
            except TransientError as error:  # reading it again would not help
                completions.append(
                    record_failure(
                        part.intent, error, reply, price, at, latency, fingerprint=part.asked.fingerprint, pending=True
                    )
                )
                found.fail(part.intent)
                continue
            self._run.state.note_answer(None)
            if answer.unscored is not None:
                self._run.state.stop(str(answer.unscored), fatal=True)
            if not self._run.spec.allow_other_model and (message := describe_other_model(part.intent.model, reply.model)):
                self._run.state.other_model(message)
            completions.append(answer.completion)
            status = answer.status(min_score)
            if part.intent.purpose == "conversation":  # before the next one is read, which may hold the same
                status = self._run.state.count_answer(status, answer.faults(min_score), answer.content_hash)
            self._run.state.note_opening(context.persona, context.topic, answer.conversation)
            recorded[part.intent.request_id, part.intent.attempt] = answer, status
        for key in await self._run.ledger.awrite(finish_parts, completions):
            if key in recorded:
                answer, status = recorded[key]
                if answer.kind is AnswerKind.JUDGED:
                    found.cost_pico += answer.completion.cost_pico if batch.run_id == self._run.run_id else 0
                    continue
                found.count(status, answer.completion, ours=batch.run_id == self._run.run_id)
