"""What this process knows of the limits it shares: Prefect's global concurrency limits as token buckets, a few for each API key. Pure.

A bucket of B that refills with R a second lets through at most B + R × window in any window. With B the share of the promise that
`pause_threshold` leaves free and R the rest of it spread over the window, that is the promise itself, and nothing comes in a burst.

Measured on Prefect 3.8: the server grants whole slots and forgets the fraction that had flowed back, so a request is 100 slots
(four processes then use 99 % of the rate, against 91 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

from convoforge.orchestration.shared_limits import SLOTS
from convoforge.rate import KINDS, SEND_WITHIN_SECONDS, Kind, Limits, Need, Permit
from convoforge.rate.keys import Key


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
        self._index = KINDS.index(self.kind)

    def of(self, amounts: Sequence[int]) -> int:
        """The amount that is of this bucket's kind."""
        return amounts[self._index]

    def in_use(self, now: float) -> float:
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
    def vanished(self) -> str:
        """Why nothing may be sent once the limit is gone."""
        return (
            f"the limit {self.name} was deleted in Prefect, and a limit that is not there lets everything through."
            " Run again: it is created anew"
        )

    def find_trouble(self, limit: GlobalConcurrencyLimitResponse) -> str | None:
        """Why nothing may be sent under the limit as Prefect has it; None if all is well."""
        if not limit.active:
            return f"the limit {self.name} is switched off in Prefect, and so would let everything through. Switch it on"
        if limit.slot_decay_per_second <= 0:
            return f"the limit {self.name} has no slot decay in Prefect, and so would never let anything through. Set one"
        if self.kind == "requests" and limit.limit < SLOTS["requests"]:
            return (
                f"the limit {self.name} has {limit.limit} slots in Prefect, and one request takes {SLOTS['requests']}. Raise it"
            )
        return None

    @property
    def numbers(self) -> str:
        """The limit for people."""
        return f"bursts of {self.limit / SLOTS[self.kind]:g} {self.kind}, {60 * self.decay / SLOTS[self.kind]:g} a minute"


class SharedKey(Key):
    """A key whose count Prefect keeps, in a bucket for each limited kind. Its windows hold this process's use and what the API taught."""

    def __init__(self, index: int, name: str, limits: Limits, buckets: Sequence[Bucket]) -> None:
        super().__init__(index, name, limits)
        self.buckets = tuple(buckets)
        self.read_at = self.leased_at = -math.inf

    def wait(self, need: Need, now: float) -> float:
        return max(super().wait(need, now), *(bucket.wait(bucket.of(need.amounts), now) for bucket in self.buckets))

    def room(self, now: float) -> float:
        return min(super().room(now), self.buckets[0].room(now))

    def rooms(self, now: float) -> list[float]:
        rooms = super().rooms(now)
        for bucket in self.buckets:
            index = KINDS.index(bucket.kind)
            rooms[index] = min(rooms[index], bucket.room(now))
        return rooms

    def take_leased(self, need: Need, now: float) -> Permit | None:
        """Let `need` go at once, if it needs no other lease."""
        if not all(bucket.covers(bucket.of(need.amounts)) for bucket in self.buckets) or super().wait(need, now) > 0:
            return None
        self._charge(need.amounts)
        return self.take(need, now, self.leased_at + SEND_WITHIN_SECONDS)

    def correct(self, permit: Permit, amounts: tuple[int, int, int], now: float) -> None:
        # the difference stays a debt of this process: four writers correcting one limit kept 25 % of their corrections
        self._charge([amount - taken for amount, taken in zip(amounts, permit.need.amounts, strict=True)])
        super().correct(permit, amounts, now)

    def _charge(self, amounts: Sequence[int]) -> None:
        for bucket in self.buckets:
            bucket.owed += bucket.of(amounts) * SLOTS[bucket.kind]
