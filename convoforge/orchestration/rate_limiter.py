"""The limiter that all processes share: one exact leaser per process for the `buckets` that Prefect keeps.

Measured on Prefect 3.8: its Retry-After is drawn at random and ignores what has flowed back, so a denied lease reads the limit and
sleeps exactly as long as it needs (`rate_limit()` reaches 23 %).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from itertools import islice
from types import TracebackType
from typing import Self

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from convoforge.errors import ConfigError, LimiterClosed
from convoforge.generation.run import Log, OpenLimiter
from convoforge.orchestration.buckets import Bucket, SharedKey
from convoforge.orchestration.shared_limits import SLOTS, bucket_numbers
from convoforge.rate import KINDS, SEND_WITHIN_SECONDS, Limits, Need, Permit
from convoforge.rate.keys import limit_name
from convoforge.rate.limiter import RateLimiter

REREAD_SECONDS = 4.0
"""Seconds between two looks for an operator's edits: they take effect within 5 s."""

CALLS_PER_SECOND = 10.0
CALLS_AT_ONCE = 5
"""Leases beyond these wait and so serve more requests each; a lone request never waits for this."""

_LOG = logging.getLogger(__name__)
_MAX_SLOTS = 2**31 - 1  # what PostgreSQL's integer column holds


class PrefectRateLimiter(RateLimiter[SharedKey]):
    """The promise of `Limits` for each key, kept by all processes together that use the same endpoint, key and model.

    Limits that Prefect does not have yet are created; where it has other numbers than `limits`, its numbers win, as an operator
    may have set them, and they are read again every few seconds. A limit that is deleted or switched off would let everything
    through, so it closes the limiter. While the Prefect server cannot be reached requests wait.

    `endpoint` is the API's URL or a label; `fingerprints` name the keys, in the caller's order. Entering it connects to
    PREFECT_API_URL; raises ConfigError if that fails or a limit there cannot work. See `RateLimiter` for what it answers.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        endpoint: str,
        model: str,
        fingerprints: Sequence[str],
        log: Log = _LOG,
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
        super().__init__(limits, keys)
        self._log = log
        self._stack = AsyncExitStack()
        self._client: PrefectClient
        self._rests: dict[SharedKey, float] = {}
        self._calls_end = -math.inf
        self._short = self._unreachable = False

    async def __aenter__(self) -> Self:
        # a client of its own: the one a flow has in its context may be closed before this
        client = get_client(httpx_settings={"timeout": 30.0, "event_hooks": {"response": [self._refuse_to_sleep]}})
        self._client = await self._stack.enter_async_context(client)
        try:
            for key in self._keys:
                for bucket in key.buckets:
                    await self._find_or_make(bucket)
                key.read_at = self._clock()
        except (httpx.HTTPError, LimiterClosed) as error:
            await self._stack.aclose()
            if isinstance(error, LimiterClosed):
                raise ConfigError(str(error)) from error
            raise ConfigError(f"no rate limiter without the Prefect server at {self._client.api_url}: {error}") from error
        self._open(self._lease_until_left()).add_done_callback(self._leaser_ended)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await super().__aexit__(kind, error, trace)
        await self._stack.aclose()

    def pause(self, seconds: float, permit: Permit) -> None:
        super().pause(seconds, permit)
        key = self._keys[permit.key]
        self._rests[key] = key.held_until
        self._woken.set()

    @property
    def waiting(self) -> str:
        if self._line and self._unreachable:
            return "waiting for the Prefect server"
        return super().waiting if self._short else ""

    def _remaining(self, now: float) -> int:
        return sum(max(0, int(key.room(now))) for key in self._alive)

    def _allowed(self) -> int:
        # what a bucket lets through in a window: its size, and what flows back until the last of it must be sent
        window = self.limits.window_seconds + SEND_WITHIN_SECONDS
        return sum(
            round(min(key.windows[0].total, (key.buckets[0].limit + key.buckets[0].decay * window) / SLOTS["requests"]))
            for key in self._alive
        )

    def _grows_in(self, now: float) -> float | None:
        waits = []
        for key in self._alive:
            bucket = key.buckets[0]
            missing = SLOTS["requests"] - bucket.free(now) % SLOTS["requests"]
            if bucket.in_use(now) >= missing:
                waits.append(max(missing / bucket.decay, key.wait(Need(), now)))
        return min(waits, default=None)

    def _largest(self) -> Sequence[float]:
        largest = [0.0] * len(KINDS)
        for key in self._alive:
            limits = {bucket.kind: bucket.limit / SLOTS[bucket.kind] for bucket in key.buckets}
            largest = [max(one, limits.get(kind, math.inf)) for one, kind in zip(largest, KINDS, strict=True)]
        return largest

    async def _refuse_to_sleep(self, response: httpx.Response) -> None:
        # a busy SQLite answers 503 now and then; the client would sleep 2 s and more on it, even without retries
        if self._leaser and response.status_code in (408, 429, 502, 503):
            raise httpx.RequestError(f"it is busy: status {response.status_code}", request=response.request)

    def _leaser_ended(self, leaser: asyncio.Task[None]) -> None:
        if not leaser.cancelled() and (error := leaser.exception()):
            self.close(str(error) if isinstance(error, LimiterClosed) else f"the rate limiter failed: {error!r}")

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
                    wait = min(1.0, 0.025 * 2**failures) * (0.5 + random.random())
                    if not self._unreachable and self._clock() - since > 1:  # less is the server's database being busy
                        self._unreachable = True
                        why = str(error) or type(error).__name__
                        self._log.warning("The Prefect server does not answer (%s). Requests wait until it does.", why)
                    while self._line and not self.limits.queue:
                        self._fail_head_for_now(wait)
                else:
                    if self._unreachable:
                        self._log.warning("The Prefect server answers again, after %.0f s.", self._clock() - since)
                    failures, self._unreachable = 0, False
                await self._rest(wait)

    async def _round(self) -> float | None:
        """One lease for as many waiting requests as fit. Returns seconds to the next try, None if nobody waits."""
        for key, until in list(self._rests.items()):
            await self._share_rest(key, until)
        if self._line:
            await asyncio.sleep(self._calls_end - self._clock() - CALLS_AT_ONCE / CALLS_PER_SECOND)
        if not self._line:
            return None
        now = self._clock()
        head = next(iter(self._line.values()))
        wait, key = self._best(head, now)
        if wait > 0:
            return await self._short_of(key, head, wait, now)
        needs = list(islice(self._line.values(), max(1, key.fitting(self._line.values(), now))))
        key.leased_at = now  # of asking: the slots count at the server from some moment after it
        for bucket in reversed(key.buckets):  # the bucket of requests last: it is the one that others wait for
            if not await self._lease(bucket, sum(bucket.of(need.amounts) for need in needs)):
                return 0.0
        if self._clock() - key.read_at > REREAD_SECONDS:
            await self._read(key)
        self._admit(key)
        return 0.0 if self._line else None

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
        return wait + random.random() * min(wait / 10, key.buckets[0].spare_seconds)

    def _admit(self, key: SharedKey) -> None:
        """Give permits for what has been leased."""
        now = self._clock()
        while self._line and key in self._alive:
            future, need = next(iter(self._line.items()))
            if not future.done():  # else its caller has just left
                permit = key.take_leased(need, now)
                if permit is None:
                    return
                future.set_result(permit)
                self._short = False
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
                raise LimiterClosed(bucket.vanished)
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
            raise LimiterClosed(bucket.vanished) from error
        if trouble := bucket.find_trouble(found):
            raise LimiterClosed(trouble)
        before = bucket.numbers
        bucket.found(found, self._clock())
        if bucket.numbers != before:
            message = "%s: the numbers set in Prefect win: %s (not %s). Edit or delete the limit there to change them."
            self._log.warning(message, bucket.name, bucket.numbers, before)

    async def _find_or_make(self, bucket: Bucket) -> None:
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
        active = min(_MAX_SLOTS, bucket.limit + int(bucket.decay * left) - SLOTS["requests"])
        if left > 0 and active > bucket.active:
            await self._client.update_global_concurrency_limit(bucket.name, GlobalConcurrencyLimitUpdate(active_slots=active))
            bucket.active, bucket.at = active, self._clock()
        if self._rests[key] == until:
            del self._rests[key]

    def _count_call(self) -> None:
        self._calls_end = max(self._calls_end, self._clock()) + 1 / CALLS_PER_SECOND


def prefect_limiter(log: Log) -> OpenLimiter:
    """What opens a run's limiter in Prefect."""

    def open_limiter(limits: Limits, endpoint: str, model: str, names: Sequence[str]) -> PrefectRateLimiter:
        return PrefectRateLimiter(limits, endpoint=endpoint, model=model, fingerprints=names, log=log)

    return open_limiter


def _passes(status: int) -> bool:
    """Whether an error of the Prefect server passes by itself. A 403 does: the client renews its CSRF token."""
    return status >= 500 or status == 403
