"""The rate limiter for processes that share a ledger, but no Prefect server: `serve`, `generate` and the Python class.

One task per process asks the ledger for permits, for all waiting requests at once; each question costs a commit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import Self

from convoforge.errors import ConvoforgeError, LedgerError
from convoforge.ledger import Ledger
from convoforge.ledger.permits import Amounts, Ask, Counted, Grant, fit, read_permits, take_permits
from convoforge.rate import Limits, Need, Permit
from convoforge.rate.keys import Key, Window, limit_name
from convoforge.rate.limiter import RateLimiter

REREAD_SECONDS = 5.0
"""Seconds between two reads of other processes' use."""

FLUSH_SECONDS = 0.25
"""Minimum seconds between two writes of corrections for which no request waits."""

_NOTHING: Amounts = (0, 0, 0)


def seconds_to_send(window_seconds: float) -> float:
    """Maximum seconds between the grant of a permit and the sending of its request, including a commit on a busy disk. A permit
    counts for this much longer than its window, which costs a fiftieth of the rate."""
    return min(1.0, max(0.25, window_seconds / 50))


class LedgerKey(Key):
    """A key whose use is counted in the ledger. Its windows hold this process's use and the limits that the API announced.

    `capacities` are the maximum amounts of each of `KINDS` that may count at once; a permit counts for `seconds`.
    """

    def __init__(
        self, index: int, name: str, limits: Limits, limit: str, capacities: tuple[float, float, float], seconds: float
    ) -> None:
        super().__init__(index, name, limits)
        self.limit = limit
        self.corrections: dict[int, Amounts] = {}
        self.pause_until = -math.inf
        self.looked_at = -math.inf
        self._counted = Counted()
        self._capacities = capacities
        self._seconds = seconds

    def wait(self, need: Need, now: float) -> float:
        entries = [(end - now, amounts) for end, amounts in self.shared(now)]
        _, wait = fit([need.amounts], Counted(entries), self._capacities, self._seconds)
        return max(super().wait(need, now), wait)

    def room(self, now: float) -> float:
        return min(super().room(now), self._capacities[0] - sum(amounts[0] for _, amounts in self.shared(now)))

    def correct(self, permit: Permit, amounts: tuple[int, int, int], now: float) -> None:
        super().correct(permit, amounts, now)
        self.charge(permit.permit, [amount - taken for amount, taken in zip(amounts, permit.need.amounts, strict=True)])

    def charge(self, permit: int, more: Sequence[int]) -> None:
        """Add amounts to a permit's correction, for the kinds that are limited."""
        more = [amount if math.isfinite(capacity) else 0 for amount, capacity in zip(more, self._capacities, strict=True)]
        if any(more):
            before = self.corrections.get(permit, _NOTHING)
            self.corrections[permit] = (before[0] + more[0], before[1] + more[1], before[2] + more[2])

    def owes(self, now: float) -> bool:
        """Whether corrections or a pause must be written to the ledger."""
        return bool(self.corrections) or self.pause_until > now

    def looked(self, counted: Counted, now: float) -> None:
        """Store the current use, as read from the ledger at `now`."""
        self._counted, self.looked_at = counted, now
        if counted.pause_seconds:
            self.hold(now + counted.pause_seconds)

    def shared(self, now: float) -> list[tuple[float, Amounts]]:
        """The last read entries that still count: expiry, in seconds of the clock, and amounts."""
        ends = ((self.looked_at + left, amounts) for left, amounts in self._counted.entries)
        return [(end, amounts) for end, amounts in ends if end > now]


class LedgerRateLimiter(RateLimiter[LedgerKey]):
    """Keeps within `Limits` for each key, over all processes that use the same ledger, endpoint, key and model.

    `endpoint` is the API's URL or a label; `fingerprints` name the keys, in the caller's order. Each process compares the use of
    all with its own limits. While the ledger cannot be written, requests fail with `LedgerError`. See `RateLimiter` for the
    methods.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        ledger: Ledger,
        endpoint: str,
        model: str,
        fingerprints: Sequence[str],
    ) -> None:
        self._send_within = seconds_to_send(limits.window_seconds)
        self._seconds = limits.window_seconds + self._send_within
        totals = (math.inf if total is None else total for total in limits.totals)
        capacities = [Window(total, limits.window_seconds, limits.pause_threshold).capacity for total in totals]
        self._capacities = (capacities[0], capacities[1], capacities[2])
        names = [limit_name(endpoint, name, model, "requests") for name in fingerprints]
        keys = [
            LedgerKey(index, name, limits, limit, self._capacities, self._seconds)
            for index, (name, limit) in enumerate(zip(fingerprints, names, strict=True))
        ]
        super().__init__(limits, keys)
        self._ledger = ledger
        self._flushed_at = -math.inf

    async def __aenter__(self) -> Self:
        for key in self._keys:
            await self._look(key)
        self._open(self._lease_until_left())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await super().__aexit__(kind, error, trace)
        with suppress(LedgerError):  # then unused reservations count until their window has passed
            await self._write_corrections()

    def pause(self, seconds: float, permit: Permit) -> None:
        super().pause(seconds, permit)
        key = self._keys[permit.key]
        key.pause_until = key.held_until
        self._woken.set()

    def _correct(self, permit: Permit, amounts: tuple[int, int, int]) -> None:
        super()._correct(permit, amounts)
        self._woken.set()

    def _used(self, now: float) -> int:
        return sum(amounts[0] for key in self._alive for _, amounts in key.shared(now))

    def _remaining(self, now: float) -> int:
        return max(0, self.limits.max_requests * len(self._alive) - self._used(now))

    def _grows_in(self, now: float) -> float | None:
        ends = [max(end, key.held_until) for key in self._alive for end, amounts in key.shared(now) if amounts[0]]
        return min(ends) - now if ends else None

    def _largest(self) -> Sequence[float]:
        return self._capacities

    async def _lease_until_left(self) -> None:
        while True:
            self._woken.clear()
            try:
                wait = await self._round()
            except ConvoforgeError as error:  # an error of the ledger fails the waiting requests; later ones try again
                while self._line:
                    self._fail_head(error)
                wait = REREAD_SECONDS
            except Exception as error:
                self.close(f"the rate limiter failed: {error!r}")
                raise
            await self._rest(wait)

    async def _round(self) -> float:
        """Ask the ledger once for permits, if requests wait. Returns the seconds to wait before the next round."""
        now = self._clock()
        if not self._line:
            await self._keep_up(now)
            return 0.0 if self._line else REREAD_SECONDS
        wait, key = self._best(next(iter(self._line.values())), now)
        if wait > 0 and await self._keep_up(now):
            return 0.0  # there may be room now
        if wait > 0:
            while self._line and not self.limits.queue:
                self._fail_head_for_now(wait)
            return min(wait, REREAD_SECONDS)
        needs = list(islice(self._line.values(), max(1, key.fitting(self._line.values(), now))))
        grant, at = await self._take(key, needs)
        self._admit(key, needs, grant, at)
        return 0.0 if self._line else REREAD_SECONDS

    async def _keep_up(self, now: float) -> bool:
        """Write corrections and pauses to the ledger, and read it if the last read is old. Returns whether either was done."""
        owing = [key for key in self._alive if key.owes(now)]
        if owing:
            await asyncio.sleep(max(0.0, self._flushed_at + FLUSH_SECONDS - now))
            await self._write_corrections()
        stale = [key for key in self._alive if key.shared(now) and now - key.looked_at >= REREAD_SECONDS]
        for key in stale:
            await self._look(key)
        return bool(owing or stale)

    async def _take(self, key: LedgerKey, needs: Sequence[Need]) -> tuple[Grant, float]:
        """Ask for permits, and write corrections and pause. Also returns the time of the count, on this limiter's clock."""
        corrections, key.corrections = key.corrections, {}
        rest, key.pause_until = key.pause_until, -math.inf
        ask = Ask(
            limit=key.limit,
            needs=[need.amounts for need in needs],
            capacities=self._capacities,
            seconds=self._seconds,
            pause_seconds=max(0.0, rest - self._clock()),
            corrections=corrections,
        )
        try:
            grant, at = await self._ledger.awrite(lambda connection: (take_permits(connection, ask), self._clock()))
        except BaseException:
            for permit, amounts in corrections.items():
                key.charge(permit, amounts)
            key.pause_until = max(key.pause_until, rest)
            raise
        key.looked(grant.counted, at)
        return grant, at

    def _admit(self, key: LedgerKey, needs: Sequence[Need], grant: Grant, at: float) -> None:
        """Admit as many waiting requests as were granted; if they are not those asked for, the difference becomes a
        correction."""
        for granted in needs[: grant.granted]:
            while self._line and next(iter(self._line)).done():  # its caller has just left
                self._line.popitem(last=False)
            if not self._line:
                key.charge(grant.permit, [-amount for amount in granted.amounts])
                continue
            future, need = self._line.popitem(last=False)
            permit = replace(key.take(need, at, at + self._send_within), permit=grant.permit)
            key.charge(grant.permit, [amount - taken for amount, taken in zip(need.amounts, granted.amounts, strict=True)])
            future.set_result(permit)

    async def _look(self, key: LedgerKey) -> None:
        counted = await self._ledger.aread(read_permits, key.limit, self._seconds)
        key.looked(counted, self._clock())

    async def _write_corrections(self) -> None:
        self._flushed_at = self._clock()
        for key in self._alive:
            if key.owes(self._flushed_at):
                await self._take(key, [])
