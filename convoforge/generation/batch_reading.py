"""The results of one message batch, read and written down: each answer once, though it is read more than once."""

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
from convoforge.ledger.attempts import Completion
from convoforge.ledger.message_batches import BatchRequest, OpenBatch, finish_parts
from convoforge.models import BatchResult, Status, UnreadableLine
from convoforge.pricing import Price
from convoforge.scoring import Rubric

WRITTEN_AT_ONCE = 200
"""Maximum results in one transaction."""

READINGS = 2
"""Times that results are read at one look, where something in them was missing or unreadable at first."""


@dataclass(slots=True)
class Collected:
    """What one look at the open batches has found: answers to this run's requests by what they count as, and what they cost; how many
    were to requests of other runs; requests that stay without an answer; how many batches go on. `troubles` say why batches that go on
    have brought nothing, `notes` what was wrong with batches that are over."""

    tally: Counter[str] = field(default_factory=Counter)
    failed: set[int] = field(default_factory=set)
    cost_pico: int = 0
    earlier: int = 0
    going_on: int = 0
    troubles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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
    """One reading of a batch's results from beginning to end. `names` have a result, `unreadable` a line that says nothing else;
    `nameless` lines may stand in place of a result, `foreign` ones do not; `cut` names the last line, if its end is missing."""

    names: set[str] = field(default_factory=set)
    unreadable: dict[str, ClaudeAPIError] = field(default_factory=dict)
    nameless: list[ClaudeAPIError] = field(default_factory=list)
    foreign: list[ClaudeAPIError] = field(default_factory=list)
    cut: str | None = None

    def note_unreadable(self, line: UnreadableLine) -> None:
        """Keep a line that could not be read, under its name if it has one."""
        if line.custom_id is not None:
            self.unreadable.setdefault(line.custom_id, line.error)
            self.cut = line.custom_id if line.cut else None
        else:
            (self.nameless if line.in_place_of_one and not line.cut else self.foreign).append(line.error)

    @property
    def named(self) -> int:
        """How many results there were of which it is known whose they are."""
        return len(self.names | self.unreadable.keys())

    @property
    def came(self) -> int:
        """How many results there were, readable or not. Lines without a name count beside others only: alone they are no results."""
        return self.named and self.named + len(self.nameless)


class ResultReader:
    """Reads results for one run, and counts them in it."""

    def __init__(self, run: RunContext, now: Callable[[], datetime]) -> None:
        self._run = run
        self._rubric = Rubric.of(run.spec.quality.scorers)
        self._now = now

    async def read(self, api: MessageBatchClient, batch: OpenBatch, parts: dict[str, BatchRequest], found: Collected) -> Reading:
        """Read and write down the results of a batch, and again at once where some were missing or unreadable. What is read stays out of
        `parts`, also where the reading breaks off, which raises a `ClaudeAPIError`."""
        reading = await self._read_once(api, batch, parts, found)
        for _ in range(READINGS - 1):
            if parts:
                reading = await self._read_once(api, batch, parts, found)
        if reading.foreign and not reading.named:
            raise reading.foreign[0]  # not a word of it was of the API's results
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
                        continue  # it is written down already, or nobody has asked for it
                    if one.reply is None:
                        failures.setdefault(one.custom_id, one)  # written at the end: another line may hold the answer
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
        """Write down some results, and count them in this run."""
        at, min_score = self._now(), self._run.spec.quality.min_score
        latency = max(0, round((at - batch.created_at).total_seconds() * 1000))
        completions: list[Completion] = []
        recorded: dict[tuple[int, int], RecordedAnswer] = {}
        for part, one in results:
            price = Price.parse(part.intent.price)
            if one.reply is None:
                error = one.error or ClaudeAPIError("no result")
                completions.append(
                    record_failure(part.intent, error, None, price, at, latency, fingerprint=part.asked.fingerprint, pending=True)
                )
                found.failed.add(part.intent.request_id)
                if isinstance(error, FatalAPIError):
                    self._run.state.stop(str(error), fatal=True)
                if isinstance(error, RejectedError):
                    self._run.state.note_answer(error)
                continue
            reply = replace(one.reply, request_id=one.message_id)
            context = replace(part.context, dataset=self._run.spec.name, parameters=self._run.spec.parameters)
            score = partial(self._rubric.score, context=context)
            answer = record_answer(part.intent, part.asked, part.cell, part.draw, reply, price, at, latency, score=score)
            try:
                check_usable(reply, answer)
            except TransientError as error:  # it will be no better another time
                completions.append(
                    record_failure(
                        part.intent, error, reply, price, at, latency, fingerprint=part.asked.fingerprint, pending=True
                    )
                )
                found.failed.add(part.intent.request_id)
                continue
            self._run.state.note_answer(None)
            if answer.unscored is not None:
                self._run.state.stop(str(answer.unscored), fatal=True)
            if not self._run.spec.allow_other_model and (message := describe_other_model(part.intent.model, reply.model)):
                self._run.state.other_model(message)
            completions.append(answer.completion)
            recorded[part.intent.request_id, part.intent.attempt] = answer
        for key in await self._run.ledger.awrite(finish_parts, completions):
            if key in recorded:
                answer = recorded[key]
                status = self._run.state.count_answer(answer.status(min_score), answer.faults(min_score), answer.content_hash)
                found.count(status, answer.completion, ours=batch.run_id == self._run.run_id)
