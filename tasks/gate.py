"""The gate that all processes share: Prefect's global concurrency limits as token buckets, one exact leaser per process.

A bucket of B that refills with R a second lets through at most B + R × window in any window. With B the share of the promise that
`pause_threshold` leaves free and R the rest of it spread over the window, that is the promise itself, and nothing comes in a burst.

Measured on Prefect 3.8: the server grants whole slots and forgets the fraction that had flowed back, so a request is 100 slots
(four processes then use 99 % of the rate, against 91 %); its Retry-After is drawn at random and ignores what has flowed back, so a
denied lease reads the limit and sleeps exactly as long as it needs (`rate_limit()` reaches 23 %).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from convoforge.errors import ConfigError, GateClosed
from convoforge.gate import KINDS, SEND_WITHIN_SECONDS, Kind, Limits, Need, Slot
from convoforge.gate.keys import Key
from convoforge.gate.queueing import QueueingGate
from convoforge.workbench import Log, OpenGate
from tasks.prefect_api import prefect_client

SLOTS: dict[Kind, int] = {"requests": 100, "input-tokens": 1, "output-tokens": 1}
"""What one of a kind takes from its Prefect limit."""

REREAD_SECONDS = 4.0
"""An operator's edit is to be heeded within 5 s."""

CALLS_PER_SECOND = 10.0
CALLS_AT_ONCE = 5
"""Leases beyond these wait and so serve more requests each; a lone request never waits for this."""

AHEAD_SECONDS = 0.4 * SEND_WITHIN_SECONDS
"""So long a lease may wait for its request; the rest is for the way to the API."""

_LOG = logging.getLogger(__name__)
_MOST_SLOTS = 2**31 - 1  # what PostgreSQL's integer column holds


def limit_name(endpoint: str, key_fingerprint: str, model: str, kind: Kind) -> str:
    """The name of a limit in Prefect: ``convoforge:claude-sonnet-5-5:api.anthropic.com:3f2a9c:requests``.

    `endpoint` is a URL or any label. Prefect forbids ``/ % & < >`` in a name and puts it into a URL's path as it stands, where ``?``
    and ``#`` would cut it short: all but letters, digits and ``. _ -`` becomes a hyphen.
    """
    url = urlsplit(endpoint)
    place = url.netloc.rpartition("@")[2] + url.path.rstrip("/") if url.netloc else endpoint
    return ":".join(
        ["convoforge", *(re.sub(r"[^\w.-]+", "-", part, flags=re.ASCII) for part in (model, place, key_fingerprint, kind))]
    )


def bucket_numbers(limits: Limits, kind: Kind) -> tuple[int, float]:
    """The Prefect limit (slots) and its decay (slots per second) that keep the promise of `limits`."""
    size, rate = limits.bucket(kind)
    return max(1, int(size * SLOTS[kind] + 1e-6)), rate * SLOTS[kind]


@dataclass
class Bucket:
    """This process's view of one Prefect limit, exact but for what other processes took since it was read.

    `active` slots were in use at `at`, and decay from then on. `owed` is what this process has still to lease for use beyond its
    estimates; negative: what it has leased and not used.
    """

    name: str
    kind: Kind
    limit: int
    decay: float
    active: float = 0.0
    at: float = 0.0
    owed: int = 0

    def __post_init__(self) -> None:
        self._place = KINDS.index(self.kind)

    def of(self, amounts: Sequence[int]) -> int:
        """The amount that is of this bucket's kind."""
        return amounts[self._place]

    def in_use(self, now: float) -> float:
        """Slots in use."""
        return max(0.0, self.active - self.decay * (now - self.at))

    def free(self, now: float) -> float:
        """Slots that could be leased."""
        # a bucket is never more than full: what was leased and not used is void once it has flowed back anyway
        self.owed = max(self.owed, -math.ceil(self.in_use(now)))
        return self.limit - self.in_use(now)

    def room(self, now: float) -> float:
        """How much of its kind fits."""
        return (self.free(now) - self.owed) / SLOTS[self.kind]

    def wait(self, amount: int, now: float) -> float:
        """Seconds until the next lease for `amount` is worth trying, infinite if it never will be."""
        slots = amount * SLOTS[self.kind]
        if slots > self.limit:
            return math.inf
        free = self.free(now)
        wanted = self.owed + slots
        if self.owed > 0:  # a debt may be larger than the bucket, so it is paid in parts
            wanted = min(wanted, max(1, self.limit // 10))
        missing = wanted - free
        # one slot more: at every lease the server forgets the fraction of a slot that had flowed back
        return (missing + 1) / self.decay if missing > 0 else 0.0

    @property
    def spare_seconds(self) -> float:
        """How long the bucket goes on filling when a first request has room."""
        return (self.limit - SLOTS[self.kind]) / self.decay

    def to_lease(self, amount: int, now: float) -> int:
        """Slots to lease so that `amount` is covered, or a part of what is owed."""
        wanted = self.owed + amount * SLOTS[self.kind]
        return wanted if self.owed <= 0 else min(wanted, max(1, int(self.free(now))))

    def leased(self, slots: int, now: float) -> None:
        """Count a lease."""
        self.active, self.at = self.in_use(now) + slots, now
        self.owed -= slots

    def covers(self, amount: int) -> bool:
        """Whether `amount` has been leased already."""
        return -self.owed >= amount * SLOTS[self.kind]

    def found(self, limit: GlobalConcurrencyLimitResponse, now: float) -> None:
        """Believe the server."""
        self.limit, self.decay = limit.limit, limit.slot_decay_per_second
        self.active, self.at = limit.active_slots, now

    @property
    def numbers(self) -> str:
        """The limit for people."""
        return f"bursts of {self.limit / SLOTS[self.kind]:g} {self.kind}, {60 * self.decay / SLOTS[self.kind]:g} a minute"


class SharedKey(Key):
    """A key whose count Prefect keeps, in a bucket for each limited kind. Its windows hold this process's use and what the API taught."""

    def __init__(self, index: int, name: str, limits: Limits, buckets: Sequence[Bucket]) -> None:
        super().__init__(index, name, [None] * len(KINDS), limits)
        self.buckets = tuple(buckets)
        self.read_at = self.leased_at = -math.inf
        self._ahead: deque[tuple[float, Need]] = deque()

    def wait(self, need: Need, now: float) -> float:
        return max(super().wait(need, now), *(bucket.wait(bucket.of(need.amounts), now) for bucket in self.buckets))

    def room(self, now: float) -> float:
        return min(super().room(now), self.buckets[0].room(now))

    def rooms(self, now: float) -> list[float]:
        rooms = super().rooms(now)
        for bucket in self.buckets:
            place = KINDS.index(bucket.kind)
            rooms[place] = min(rooms[place], bucket.room(now))
        return rooms

    def take_leased(self, need: Need, now: float) -> Slot | None:
        """Let `need` go at once, if it needs no other lease."""
        if not all(bucket.covers(bucket.of(need.amounts)) for bucket in self.buckets) or super().wait(need, now) > 0:
            return None
        self._charge(need.amounts)
        return self.take(need, now, self.leased_at + SEND_WITHIN_SECONDS)

    def ahead(self, now: float) -> int:
        """How many requests may go that have not come yet."""
        while self._ahead and self._ahead[0][0] <= now:
            self._ahead.popleft()  # void: what goes later than that would not be counted in its window
        return len(self._ahead)

    def take_ahead(self, need: Need, now: float) -> Slot | None:
        """Let `need` go on a lease taken before it came, if there is one and the key does not rest."""
        if not self.ahead(now) or super().wait(need, now) > 0:
            return None
        void_at, leased = self._ahead.popleft()
        self._charge([amount - taken for amount, taken in zip(need.amounts, leased.amounts, strict=True)])
        return self.take(need, now, void_at - AHEAD_SECONDS + SEND_WITHIN_SECONDS)

    def fits_ahead(self, needs: Sequence[Need], now: float) -> bool:
        """Whether a lease for `needs` leaves every bucket at least half full: no other process is short of what is kept here."""
        return all(
            2 * (bucket.free(now) - bucket.owed - SLOTS[bucket.kind] * sum(bucket.of(need.amounts) for need in needs))
            >= bucket.limit
            for bucket in self.buckets
        )

    def keep_ahead(self, needs: Sequence[Need]) -> None:
        """Keep what was just leased for requests that have not come yet."""
        for need in needs:
            self._charge(need.amounts)
            self._ahead.append((self.leased_at + AHEAD_SECONDS, need))

    def correct(self, slot: Slot, amounts: tuple[int, int, int], now: float) -> None:
        # the difference stays a debt of this process: four writers correcting one limit kept 25 % of their corrections
        self._charge([amount - taken for amount, taken in zip(amounts, slot.need.amounts, strict=True)])
        super().correct(slot, amounts, now)

    def _charge(self, amounts: Sequence[int]) -> None:
        for bucket in self.buckets:
            bucket.owed += bucket.of(amounts) * SLOTS[bucket.kind]


class PrefectGate(QueueingGate[SharedKey]):
    """The promise of `Limits` for each key, kept by all processes together that use the same endpoint, key and model.

    Limits that Prefect does not have yet are created; where it has other numbers than `limits`, its numbers win, as an operator
    may have set them, and they are read again every few seconds. A limit that is deleted or switched off would let everything
    through, so it closes the gate. While the Prefect server cannot be reached requests wait.

    `endpoint` is the API's URL or a label; `fingerprints` name the keys, in the caller's order. `jitter` draws from 0 to 1. Entering
    it connects to PREFECT_API_URL; raises ConfigError if that fails or a limit there cannot work. See `Gate` for what it answers.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        endpoint: str,
        model: str,
        fingerprints: Sequence[str],
        log: Log = _LOG,
        clock: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        keys = [
            SharedKey(
                index,
                name,
                limits,
                [
                    Bucket(limit_name(endpoint, name, model, kind), kind, *bucket_numbers(limits, kind))
                    for kind, total in zip(KINDS, limits.totals, strict=True)
                    if total is not None
                ],
            )
            for index, name in enumerate(fingerprints)
        ]
        super().__init__(limits, keys, clock=clock, utcnow=utcnow)
        self._closed = "the gate is not open: enter it with `async with`"
        self._log = log
        self._jitter = jitter
        self._stack = AsyncExitStack()
        self._client: PrefectClient
        self._leaser: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._rests: dict[SharedKey, float] = {}
        self._calls_end = -math.inf
        self._short = self._unreachable = False
        self._came = 0
        self._peaks: deque[int] = deque(maxlen=8)
        self._last = Need()

    async def __aenter__(self) -> Self:
        # a client of its own: the one a flow has in its context may be closed before this
        client = prefect_client(timeout=30.0, event_hooks={"response": [self._refuse_to_sleep]})
        self._client = await self._stack.enter_async_context(client)
        try:
            for key in self._keys:
                for bucket in key.buckets:
                    await self._open(bucket)
                key.read_at = self._clock()
        except (httpx.HTTPError, GateClosed) as error:
            await self._stack.aclose()
            if isinstance(error, GateClosed):
                raise ConfigError(str(error)) from error
            raise ConfigError(f"no rate gate without the Prefect server at {self._client.api_url}: {error}") from error
        self._closed = None
        self._leaser = asyncio.create_task(self._lease_until_left())
        self._leaser.add_done_callback(self._leaser_ended)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await super().__aexit__(kind, error, trace)
        if self._leaser:
            self._leaser.cancel()
            await asyncio.wait([self._leaser])
        await self._stack.aclose()

    def pause(self, seconds: float, slot: Slot) -> None:
        super().pause(seconds, slot)
        key = self._keys[slot.key]
        self._rests[key] = key.held_until
        self._woken.set()

    @property
    def waiting(self) -> str:
        if self._line and self._unreachable:
            return "waiting for the Prefect server"
        return super().waiting if self._short else ""

    def _serve(self) -> None:
        for key in self._alive:
            self._admit(key, key.take_ahead)
        if self._line:
            self._woken.set()

    def _remaining(self, now: float) -> int:
        return sum(max(0, int(key.room(now))) for key in self._alive)

    def _grows_in(self, now: float) -> float | None:
        waits = []
        for key in self._alive:
            bucket = key.buckets[0]
            missing = SLOTS["requests"] - bucket.free(now) % SLOTS["requests"]
            if bucket.in_use(now) >= missing:
                waits.append(max(missing / bucket.decay, key.wait(Need(), now)))
        return min(waits, default=None)

    def _largest(self) -> Sequence[float]:
        most = [0.0] * len(KINDS)
        for key in self._alive:
            limits = {bucket.kind: bucket.limit / SLOTS[bucket.kind] for bucket in key.buckets}
            most = [max(one, limits.get(kind, math.inf)) for one, kind in zip(most, KINDS, strict=True)]
        return most

    async def _refuse_to_sleep(self, response: httpx.Response) -> None:
        # a busy SQLite answers 503 now and then; the client would sleep 2 s and more on it, even without retries
        if self._leaser and response.status_code in (408, 429, 502, 503):
            raise httpx.RequestError(f"status {response.status_code}", request=response.request)

    def _leaser_ended(self, leaser: asyncio.Task[None]) -> None:
        if not leaser.cancelled() and (error := leaser.exception()):
            self.close(str(error) if isinstance(error, GateClosed) else f"the rate gate failed: {error!r}")

    async def _lease_until_left(self) -> None:
        failures = 0
        # the client's own retries sleep for up to a minute and cannot be woken when the server is back
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            while True:
                self._woken.clear()
                if not failures:
                    since = self._clock()
                try:
                    wait = await self._round()
                except httpx.HTTPError as error:
                    if isinstance(error, httpx.HTTPStatusError) and not _passes(error.response.status_code):
                        raise
                    failures += 1
                    wait = min(1.0, 0.025 * 2**failures) * (0.5 + self._jitter())
                    if not self._unreachable and self._clock() - since > 1:  # less is the server's database being busy
                        self._unreachable = True
                        self._log.warning("The Prefect server does not answer (%r). Requests wait until it does.", error)
                    while self._line and not self.limits.queue:
                        self._fail_head_for_now(wait)
                else:
                    if self._unreachable:
                        self._log.warning("The Prefect server answers again, after %.0f s.", self._clock() - since)
                    failures, self._unreachable = 0, False
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()

    async def _round(self) -> float | None:
        """One lease for as many waiting requests as fit. Returns seconds to the next try, None if nobody waits."""
        for key, until in list(self._rests.items()):
            await self._share_rest(key, until)
        if not self._line and not self._came and not any(self._peaks):
            return None
        await asyncio.sleep(self._calls_end - self._clock() - CALLS_AT_ONCE / CALLS_PER_SECOND)
        now = self._clock()
        head = next(iter(self._line.values()), Need())
        wait, key = self._best(head, now)
        if wait > 0:
            return await self._short_of(key, head, wait, now) if self._line else None
        needs = list(islice(self._line.values(), max(1, key.fitting(self._line.values(), now))))
        ahead = self._expected(key, needs, now)
        key.leased_at = now  # of asking: the slots count at the server from some moment after it
        for bucket in reversed(key.buckets):  # the request slot last: it is the one that others wait for
            if not await self._lease(bucket, sum(bucket.of(need.amounts) for need in (*needs, *ahead))):
                return 0.0
        key.keep_ahead(ahead)
        if self._clock() - key.read_at > REREAD_SECONDS:
            await self._read(key)
        self._admit(key, key.take_leased)
        return 0.0 if self._line else 1 / CALLS_PER_SECOND

    def _expected(self, key: SharedKey, needs: Sequence[Need], now: float) -> list[Need]:
        """What may come before the next lease, while there is plenty: requests then need not wait for one. Calls that began together
        end together, so the most that came between two of the last leases is what may come again."""
        self._peaks.append(self._came)
        self._came = 0
        expected = [needs[-1] if needs else self._last] * (max(self._peaks) - key.ahead(now))
        return expected if key.fits_ahead([*needs, *expected], now) else []

    async def _short_of(self, key: SharedKey, head: Need, wait: float, now: float) -> float:
        """Nothing fits: seconds to the next try."""
        if stale := [other for other in self._alive if now - other.read_at > REREAD_SECONDS]:
            for other in stale:
                await self._read(other)
            return 0.0
        self._short = True
        try:
            self._refuse_larger(head)
        except ConfigError as error:  # an operator made the limit smaller than this request
            self._fail_head(error)
            return 0.0
        while self._line and not self.limits.queue:
            self._fail_head_for_now(wait)
        # processes that wait for the same slots should not ask at the same moment; a bucket of one request has no time to lose
        wait = min(wait, REREAD_SECONDS)
        return wait + self._jitter() * min(wait / 10, key.buckets[0].spare_seconds)

    def _admit(self, key: SharedKey, take: Callable[[Need, float], Slot | None]) -> None:
        """Let go whom `take` has a slot for."""
        now = self._clock()
        while self._line and key in self._alive:
            future, need = next(iter(self._line.items()))
            if not future.done():  # else its caller has just left
                slot = take(need, now)
                if slot is None:
                    return
                future.set_result(slot)
                self._came, self._last, self._short = self._came + 1, need, False
            del self._line[future]

    async def _lease(self, bucket: Bucket, amount: int) -> bool:
        """Whether `amount` is covered now."""
        now = self._clock()  # of asking: the next lease takes as long to arrive as this one
        slots = bucket.to_lease(amount, now)
        if slots > 0:
            self._count_call()
            try:
                reply = await self._client.increment_concurrency_slots([bucket.name], slots, "rate_limit")
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (422, 423):
                    raise
                await self._read_bucket(bucket)
                return False
            if bucket.name not in [limit["name"] for limit in reply.json()]:
                raise GateClosed(_vanished(bucket))
            bucket.leased(slots, now)
        return bucket.covers(amount)

    async def _read(self, key: SharedKey) -> None:
        for bucket in key.buckets:
            await self._read_bucket(bucket)
        key.read_at = self._clock()

    async def _read_bucket(self, bucket: Bucket) -> None:
        self._count_call()
        try:
            found = await self._client.read_global_concurrency_limit_by_name(bucket.name)
        except ObjectNotFound as error:
            raise GateClosed(_vanished(bucket)) from error
        if trouble := _trouble(bucket, found):
            raise GateClosed(trouble)
        before = bucket.numbers
        bucket.found(found, self._clock())
        if bucket.numbers != before:
            message = "%s: the numbers set in Prefect win: %s (not %s). Edit or delete the limit there to change them."
            self._log.warning(message, bucket.name, bucket.numbers, before)

    async def _open(self, bucket: Bucket) -> None:
        try:
            await self._client.read_global_concurrency_limit_by_name(bucket.name)
        except ObjectNotFound:
            create = GlobalConcurrencyLimitCreate(name=bucket.name, limit=bucket.limit, slot_decay_per_second=bucket.decay)
            with suppress(ObjectAlreadyExists):  # another process was faster
                await self._client.create_global_concurrency_limit(create)
        await self._read_bucket(bucket)

    async def _share_rest(self, key: SharedKey, until: float) -> None:
        """Fill the bucket so far beyond its limit that the first request fits when the rest is over."""
        bucket = key.buckets[0]
        bucket.owed = 0  # what was leased before the rest and not used would come in a burst after it
        await self._read_bucket(bucket)
        left = until - self._clock()
        active = min(_MOST_SLOTS, bucket.limit + int(bucket.decay * left) - SLOTS["requests"])
        if left > 0 and active > bucket.active:
            await self._client.update_global_concurrency_limit(bucket.name, GlobalConcurrencyLimitUpdate(active_slots=active))
            bucket.active, bucket.at = active, self._clock()
        if self._rests[key] == until:
            del self._rests[key]

    def _count_call(self) -> None:
        self._calls_end = max(self._calls_end, self._clock()) + 1 / CALLS_PER_SECOND


def prefect_gate(log: Log) -> OpenGate:
    """What opens a workbench's gate in Prefect."""

    def open_gate(limits: Limits, endpoint: str, model: str, names: Sequence[str]) -> PrefectGate:
        return PrefectGate(limits, endpoint=endpoint, model=model, fingerprints=names, log=log)

    return open_gate


def _passes(status: int) -> bool:
    """Whether an error of the Prefect server passes by itself. A 403 does: the client renews its CSRF token."""
    return status >= 500 or status == 403


def _vanished(bucket: Bucket) -> str:
    return (
        f"the limit {bucket.name} was deleted in Prefect, and a limit that is not there lets everything through."
        " Run again: it is created anew"
    )


def _trouble(bucket: Bucket, found: GlobalConcurrencyLimitResponse) -> str | None:
    """Why nothing may be sent under the limit as it was found."""
    if not found.active:
        return f"the limit {bucket.name} is switched off in Prefect, and so would let everything through. Switch it on"
    if found.slot_decay_per_second <= 0:
        return f"the limit {bucket.name} has no slot decay in Prefect, and so would never let anything through. Set one"
    if bucket.kind == "requests" and found.limit < SLOTS["requests"]:
        return f"the limit {bucket.name} has {found.limit} slots in Prefect, and one request takes {SLOTS['requests']}. Raise it"
    return None
