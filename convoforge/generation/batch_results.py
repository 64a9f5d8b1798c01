"""Collects the results of message batches: records each answer once, whatever fails in between.

A batch is paid when it ends, so results are not given up lightly: requests are sent again only if the API says that there is no
result, or after a limited time (`MISSING_FOR`, `SHORT_FOR`, `RESULTS_LIVE`). An unreadable result fails only its own request. Any
process with a batch's key can collect it, whoever created it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from convoforge.claude import MessageBatchClient
from convoforge.claude.batches import HANDOVER_SECONDS
from convoforge.errors import ClaudeAPIError, ConfigError, FatalAPIError, RejectedError
from convoforge.generation.batch_reading import WRITTEN_AT_ONCE, Collected, Reading, ResultReader
from convoforge.generation.batch_search import BatchSearch
from convoforge.generation.endpoint import wrong_provider
from convoforge.generation.recording import record_failure
from convoforge.generation.run_context import RunContext
from convoforge.ledger.message_batches import (
    BatchRequest,
    OpenBatch,
    Seen,
    end_batch,
    finish_parts,
    read_parts,
    write_seen,
)
from convoforge.ledger.runs import read_stop
from convoforge.pricing import Price

MISSING_FOR = timedelta(hours=6)
"""Maximum time for 404 answers about a created batch before the API's list decides. Such answers have been seen for healthy
batches, two minutes after their creation, and after their end."""

SHORT_FOR = timedelta(hours=1)
"""Maximum time after a batch's end to wait for missing results."""

RESULTS_LIVE = timedelta(days=29)
"""Time after a batch's creation for which the API keeps its results."""

SETTLE = timedelta(seconds=5)
"""Maximum time from a batch's creation to its appearance in the API's list."""


class Collector:
    """Collects message batches for one run."""

    def __init__(self, run: RunContext, now: Callable[[], datetime]) -> None:
        self._run = run
        self._now = now
        self._reader = ResultReader(run, now)
        self._search = BatchSearch(run)

    async def collect(self, batches: Iterable[OpenBatch]) -> Collected:
        """Check each of `batches` once, and record the results of those that have ended.

        Raises `ConfigError` for a batch whose key is missing here, after the others, and `LedgerError`.
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
        """Make the requests of `parts` pending again, without an answer. Returns their ids."""
        return await self._fail([(part, error) for part in parts.values()])

    async def _look(self, batch: OpenBatch, found: Collected) -> bool:
        """Check one batch and record its results. Returns whether it is closed."""
        assert batch.api_key is not None
        api = self._run.claude.message_batches(self._run.key_names.index(batch.api_key))
        parts = await self._run.ledger.aread(read_parts, batch.id)
        seen = replace(batch.seen, looked_at=self._now(), trouble=None, given_up_at=batch.created_at + RESULTS_LIVE)
        try:
            if not parts:  # other processes have recorded all results
                return await self._end(batch, seen)
            if batch.api_id is None and self._is_deleted(batch):
                return await self._lose(batch, parts, found, f"batch {batch.id} was never found at the API")
            api_id = batch.api_id or await self._search.find(api, batch, parts)
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
            ):  # an old key that was deleted does not concern the others
                self._run.state.stop(str(error), fatal=True)
            return await self._go_on(batch, replace(seen, trouble=str(error)), found)
        except ClaudeAPIError as error:  # the batch continues anyway: the next check may succeed
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
            reading = await self._reader.read(api, batch, parts, found)
        except RejectedError as error:
            if error.status == 404 and state.archived:
                return await self._lose(batch, parts, found, f"the API has deleted the results of batch {batch.api_id}")
            if error.status == 404:
                return await self._missing(api, batch, seen, parts, found, error)
            raise
        if not parts:
            return await self._end(batch, seen)
        since = self._now() if reading.came == 0 else ended_at  # no results at all may be a network fault: checked twice
        missing_since = (batch.seen.missing_since or since) if reading.came == 0 else None
        seen = replace(seen, missing_since=missing_since)
        return await self._settle(batch, seen, parts, found, reading, state.requests or batch.requests)

    async def _settle(
        self, batch: OpenBatch, seen: Seen, parts: dict[str, BatchRequest], found: Collected, reading: Reading, expected: int
    ) -> bool:
        """Decide about the requests without a readable result. Returns whether the batch is closed."""
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

    async def _fail(self, failed: Sequence[tuple[BatchRequest, ClaudeAPIError]]) -> set[int]:
        """Make requests pending again, each with the reason why it has no answer. Returns the ids of those for conversations."""
        at = self._now()
        failures = [
            record_failure(
                part.intent, error, None, Price.parse(part.intent.price), at, 0, fingerprint=part.asked.fingerprint, pending=True
            )
            for part, error in failed
        ]
        for start in range(0, len(failures), WRITTEN_AT_ONCE):
            await self._run.ledger.awrite(finish_parts, failures[start : start + WRITTEN_AT_ONCE])
        return {part.intent.request_id for part, _ in failed if part.intent.purpose == "conversation"}

    async def _missing(
        self,
        api: MessageBatchClient,
        batch: OpenBatch,
        seen: Seen,
        parts: dict[str, BatchRequest],
        found: Collected,
        error: ClaudeAPIError,
    ) -> bool:
        """Handle a created batch for which the API now answers 404, or for its results. Returns whether it is given up."""
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
            if not await self._search.is_listed(api, batch):
                why = f"the API has not known batch {batch.api_id} for {MISSING_FOR.total_seconds() / 3600:g} hours, and does not list it"
                return await self._lose(batch, parts, found, why)
            trouble = f"{trouble}; yet it is in the list of batches"
            given_up_at = batch.created_at + RESULTS_LIVE
        seen = replace(seen, missing_since=since, trouble=trouble, given_up_at=given_up_at)
        return await self._go_on(batch, seen, found)

    def _is_deleted(self, batch: OpenBatch) -> bool:
        """Whether the batch is so old that the API has deleted its results."""
        return self._now() - batch.created_at >= RESULTS_LIVE

    async def _lose(self, batch: OpenBatch, parts: Mapping[str, BatchRequest], found: Collected, why: str) -> bool:
        """Give up the missing results of a batch; they may have been billed."""
        found.failed |= await self.give_back(
            parts, ClaudeAPIError(f"{why}; it may have been billed", kind="lost", maybe_billed=True)
        )
        note = f"{why}: its {len(parts)} requests are asked again, and may have been billed"
        return await self._end(batch, batch.seen, found, note)

    async def _never_made(self, batch: OpenBatch, seen: Seen, parts: Mapping[str, BatchRequest], found: Collected) -> bool:
        """Make the requests of a batch pending again if the API does not have it and no process can still be creating it."""
        age = self._now() - batch.created_at
        gone = batch.run_id == self._run.run_id or await self._run.ledger.aread(read_stop, batch.run_id, self._now()) is not None
        if age < SETTLE or (not gone and age < timedelta(seconds=HANDOVER_SECONDS) + SETTLE):
            return await self._go_on(batch, seen, found)
        why = ClaudeAPIError("the batch was never made: nothing was sent", kind="never_made")
        found.failed |= await self.give_back(parts, why)
        await self._run.ledger.awrite(end_batch, batch.id, "failed", self._now())
        return True

    async def _go_on(self, batch: OpenBatch, seen: Seen, found: Collected) -> bool:
        """Save the state of a batch that stays open."""
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
