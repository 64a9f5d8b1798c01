"""The results of message batches, written down: each answer once, whatever breaks on the way.

A batch is paid when it ends, so nothing of it is given up lightly: what the API may still bring is waited for, and asked again only
on the API's own word or after a bounded time (`MISSING_FOR`, `SHORT_FOR`, `RESULTS_LIVE`). A result that cannot be read is one
request's failure. Nothing here depends on who made a batch: any process with its key collects it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from convoforge.claude import MessageBatchClient
from convoforge.claude.batches import HANDOVER_SECONDS
from convoforge.errors import ClaudeAPIError, ConfigError, FatalAPIError, RejectedError, TransientError
from convoforge.generation.answering_model import describe_other_model
from convoforge.generation.endpoint import wrong_provider
from convoforge.generation.recording import RecordedAnswer, check_usable, record_answer, record_failure
from convoforge.generation.run_context import RunContext
from convoforge.ledger.attempts import Completion
from convoforge.ledger.message_batches import (
    BatchRequest,
    OpenBatch,
    Seen,
    end_batch,
    finish_parts,
    list_known_batches,
    name_batch,
    read_parts,
    write_seen,
)
from convoforge.ledger.runs import read_stop
from convoforge.models import BatchResult, BatchState, Status, UnreadableLine
from convoforge.pricing import Price
from convoforge.scoring import Rubric

MISSING_FOR = timedelta(hours=6)
"""How long the API may answer 404 for a batch that it has named, before its list decides. Such answers were met two minutes after the
making of batches that were fine, and after their end."""

SHORT_FOR = timedelta(hours=1)
"""How long after its end a batch may have fewer results than requests."""

RESULTS_LIVE = timedelta(days=29)
"""How long after the making of a batch the API keeps its results."""

SKEW = timedelta(minutes=10)
"""How far this machine's clock and the API's may differ."""

SETTLE = timedelta(seconds=5)
"""How long after its making a batch may take to be listed."""

WRITTEN_AT_ONCE = 200
"""Maximum results in one transaction."""

READINGS = 2
"""Times that results are read at one look, where something in them was missing or unreadable at first."""

RECOGNIZED_WITHIN = 100
"""Results to look into to tell one's own batch from another with as many requests."""


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
class _Reading:
    """One reading of a batch's results from beginning to end. `names` have a result, `unreadable` a line that says nothing else;
    `nameless` lines may stand in place of a result, `foreign` ones do not; `cut` names the last line, if its end is missing."""

    names: set[str] = field(default_factory=set)
    unreadable: dict[str, ClaudeAPIError] = field(default_factory=dict)
    nameless: list[ClaudeAPIError] = field(default_factory=list)
    foreign: list[ClaudeAPIError] = field(default_factory=list)
    cut: str | None = None

    def take(self, line: UnreadableLine) -> None:
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


class Collector:
    """Collects batches for one run."""

    def __init__(self, run: RunContext, now: Callable[[], datetime]) -> None:
        self._run = run
        self._rubric = Rubric.of(run.spec.quality.scorers)
        self._now = now
        self._not_ours: set[tuple[str, str]] = set()

    async def collect(self, batches: Iterable[OpenBatch]) -> Collected:
        """Look at each of `batches` once, and write down the results of those that have ended.

        Raises `ConfigError` for a batch whose key is not here, after the others, and `LedgerError`.
        """
        found, barred = Collected(), []
        for batch in batches:
            if batch.api_key in self._run.key_names:
                found.going_on += not await self._look(batch, found)
            else:
                barred.append(batch)
        for batch in barred:
            raise ConfigError(
                f"batch {_name(batch)} was made under another API key ({batch.api_key}): "
                "only with that one in ANTHROPIC_API_KEY can its answers be collected"
            )
        return found

    async def give_back(self, parts: Mapping[str, BatchRequest], error: ClaudeAPIError) -> set[int]:
        """Give the requests of `parts` back, pending, without an answer. Returns their ids."""
        return await self._fail([(part, error) for part in parts.values()])

    async def _look(self, batch: OpenBatch, found: Collected) -> bool:
        """Whether a batch is over, its results written."""
        assert batch.api_key is not None
        api = self._run.claude.message_batches(self._run.key_names.index(batch.api_key))
        parts = await self._run.ledger.aread(read_parts, batch.id)
        seen = replace(batch.seen, looked_at=self._now(), trouble=None, given_up_at=batch.created_at + RESULTS_LIVE)
        try:
            if not parts:  # others have written them all
                return await self._end(batch, seen)
            if batch.api_id is None and self._is_deleted(batch):
                return await self._lose(batch, parts, found, f"batch {batch.id} was never found at the API")
            api_id = batch.api_id or await self._find(api, batch, parts)
            if api_id is None:
                return await self._never_made(batch, seen, parts, found)
            named = replace(batch, api_id=api_id)
            try:
                return await self._collect(api, named, seen, parts, found)
            except (RejectedError, FatalAPIError) as error:
                if error.status != 404:
                    raise
                return await self._missing(api, named, seen, parts, found, error)
        except FatalAPIError as error:
            if (
                error.status != 401 or batch.api_key == self._run.key_names[0]
            ):  # an old key that is no more says nothing of the others
                self._run.state.stop(str(error), fatal=True)
            return await self._go_on(batch, replace(seen, trouble=str(error)), found)
        except ClaudeAPIError as error:  # the batch goes on without us: the next look may fare better
            if self._is_deleted(batch) and error.status is not None:
                return await self._lose(batch, parts, found, f"batch {_name(batch)} is older than its results live ({error})")
            return await self._go_on(batch, replace(seen, trouble=str(error)), found)

    async def _collect(
        self, api: MessageBatchClient, batch: OpenBatch, seen: Seen, parts: dict[str, BatchRequest], found: Collected
    ) -> bool:
        assert batch.api_id is not None
        state = await api.retrieve(batch.api_id)
        if state.provider != batch.provider:
            raise FatalAPIError(wrong_provider(state.provider, batch.provider), kind="provider")
        seen = replace(seen, api_status=state.status)
        if not state.ended:
            if self._is_deleted(batch):
                return await self._lose(batch, parts, found, f"the API has had batch {batch.api_id} for {RESULTS_LIVE.days} days")
            return await self._go_on(batch, replace(seen, missing_since=None), found)
        ended_at = batch.seen.api_ended_at or min(state.ended_at or self._now(), self._now())
        seen = replace(seen, api_ended_at=ended_at)
        try:
            reading = await self._read(api, batch, parts, found)
        except RejectedError as error:
            if error.status == 404 and state.archived:
                return await self._lose(batch, parts, found, f"the API has deleted the results of batch {batch.api_id}")
            if error.status == 404:
                return await self._missing(api, batch, seen, parts, found, error)
            raise
        if not parts:
            return await self._end(batch, seen)
        since = self._now() if reading.came == 0 else ended_at  # nothing at all may be a fault on the way: that is seen twice
        missing_since = (batch.seen.missing_since or since) if reading.came == 0 else None
        seen = replace(seen, missing_since=missing_since)
        return await self._settle(batch, seen, parts, found, reading, state.requests or batch.requests)

    async def _settle(
        self, batch: OpenBatch, seen: Seen, parts: dict[str, BatchRequest], found: Collected, reading: _Reading, expected: int
    ) -> bool:
        """What to do with the requests of which no readable result came: whether the batch is over."""
        assert seen.api_ended_at is not None
        given_up_at = max(seen.api_ended_at, seen.missing_since or seen.api_ended_at) + SHORT_FOR
        last = reading.came >= expected or self._now() >= given_up_at
        unreadable = {name: why for name, why in reading.unreadable.items() if name in parts and (last or name != reading.cut)}
        failed = [(parts.pop(name), why) for name, why in unreadable.items()]
        found.failed |= await self._fail(failed)
        if parts and not last:
            unread = f", {len(failed)} could not be read" if failed else ""
            trouble = (
                f"{len(parts)} of {batch.requests} results of batch {batch.api_id} have not come, though it has ended{unread}"
            )
            return await self._go_on(batch, replace(seen, trouble=trouble, given_up_at=given_up_at), found)
        missing = len(parts)
        why = "the batch has ended without a result for this request; it may have been billed"
        found.failed |= await self.give_back(parts, ClaudeAPIError(why, kind="lost", maybe_billed=True))
        reasons = [*unreadable.values(), *reading.nameless, *reading.foreign]
        what = [f"{len(failed)} could not be read" if failed else "", f"{missing} never came" if missing else ""]
        note = (
            f"of {batch.requests} results of batch {batch.api_id} {' and '.join(filter(None, what))}; the requests are asked again, "
            f"and may have been billed{f' ({reasons[0]})' if reasons else ''}"
        )
        return await self._end(batch, seen, found, note)

    async def _read(
        self, api: MessageBatchClient, batch: OpenBatch, parts: dict[str, BatchRequest], found: Collected
    ) -> _Reading:
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
    ) -> _Reading:
        assert batch.api_id is not None
        reading, failures = _Reading(), dict[str, BatchResult]()
        answers: list[tuple[BatchRequest, BatchResult]] = []
        try:
            async with aclosing(api.results(batch.api_id, self._run.spec.generation)) as results:
                async for one in results:
                    if isinstance(one, UnreadableLine):
                        reading.take(one)
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

    async def _fail(self, failed: Sequence[tuple[BatchRequest, ClaudeAPIError]]) -> set[int]:
        """Give requests back, pending, each with the reason why it has no answer. Returns their ids."""
        at = self._now()
        failures = [
            record_failure(
                part.intent, error, None, Price.parse(part.intent.price), at, 0, fingerprint=part.asked.fingerprint, pending=True
            )
            for part, error in failed
        ]
        for start in range(0, len(failures), WRITTEN_AT_ONCE):
            await self._run.ledger.awrite(finish_parts, failures[start : start + WRITTEN_AT_ONCE])
        return {part.intent.request_id for part, _ in failed}

    async def _missing(
        self,
        api: MessageBatchClient,
        batch: OpenBatch,
        seen: Seen,
        parts: dict[str, BatchRequest],
        found: Collected,
        error: ClaudeAPIError,
    ) -> bool:
        """A batch that the API has named, and that it does not know now, or not its results: whether it is given up."""
        assert batch.api_id is not None
        now = self._now()
        if self._is_deleted(batch):
            return await self._lose(batch, parts, found, f"the API knows batch {batch.api_id} no more")
        since = batch.seen.missing_since or now
        trouble = f"the API has not had batch {batch.api_id} or its results since {since:%Y-%m-%d %H:%M} UTC: {error}"
        given_up_at = since + MISSING_FOR
        if batch.endpoint is not None and batch.endpoint != self._run.base_url:
            if batch.provider == "simulator":
                return await self._lose(batch, parts, found, f"the simulator is gone that worked on batch {batch.api_id}")
            trouble = (
                f"batch {batch.api_id} was made at {batch.endpoint}, and {self._run.base_url} does not know it: "
                "set ANTHROPIC_BASE_URL back to collect it"
            )
            given_up_at = batch.created_at + RESULTS_LIVE
        elif now >= given_up_at:
            if not await self._is_listed(api, batch):
                why = f"the API has not known batch {batch.api_id} for {MISSING_FOR.total_seconds() / 3600:g} hours, and does not list it"
                return await self._lose(batch, parts, found, why)
            trouble = f"{trouble}; yet it is in the list of batches"
            given_up_at = batch.created_at + RESULTS_LIVE
        seen = replace(seen, missing_since=since, trouble=trouble, given_up_at=given_up_at)
        return await self._go_on(batch, seen, found)

    async def _is_listed(self, api: MessageBatchClient, batch: OpenBatch) -> bool:
        return batch.api_id in {one.id async for one in api.list_since(batch.created_at - SKEW)}

    def _is_deleted(self, batch: OpenBatch) -> bool:
        """Whether the API keeps no results of a batch so old."""
        return self._now() - batch.created_at >= RESULTS_LIVE

    async def _lose(self, batch: OpenBatch, parts: Mapping[str, BatchRequest], found: Collected, why: str) -> bool:
        """Give up what a batch has not brought; it may have been billed."""
        found.failed |= await self.give_back(
            parts, ClaudeAPIError(f"{why}; it may have been billed", kind="lost", maybe_billed=True)
        )
        note = f"{why}: its {len(parts)} requests are asked again, and may have been billed"
        return await self._end(batch, batch.seen, found, note)

    async def _find(self, api: MessageBatchClient, batch: OpenBatch, parts: Mapping[str, BatchRequest]) -> str | None:
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

    async def _never_made(self, batch: OpenBatch, seen: Seen, parts: Mapping[str, BatchRequest], found: Collected) -> bool:
        """Give the requests of a batch back that the API does not have, once nobody can be about to make it any more."""
        age = self._now() - batch.created_at
        gone = batch.run_id == self._run.run_id or await self._run.ledger.aread(read_stop, batch.run_id, self._now()) is not None
        if age < SETTLE or (not gone and age < timedelta(seconds=HANDOVER_SECONDS) + SETTLE):
            return await self._go_on(batch, seen, found)
        why = ClaudeAPIError("the batch was never made: nothing was sent", kind="never_made")
        found.failed |= await self.give_back(parts, why)
        await self._run.ledger.awrite(end_batch, batch.id, "failed", self._now())
        return True

    async def _go_on(self, batch: OpenBatch, seen: Seen, found: Collected) -> bool:
        """Keep what a look found at a batch that is not over."""
        if seen.trouble is not None:
            found.troubles.append(seen.trouble)
        await self._run.ledger.awrite(write_seen, batch.id, seen)
        return False

    async def _end(self, batch: OpenBatch, seen: Seen, found: Collected | None = None, note: str | None = None) -> bool:
        if found is not None and note is not None:
            found.notes.append(note)
        await self._run.ledger.awrite(write_seen, batch.id, replace(seen, looked_at=self._now()))
        await self._run.ledger.awrite(end_batch, batch.id, "ended", self._now(), note)
        return True


def _name(batch: OpenBatch) -> str:
    return batch.api_id or batch.id
