"""An API key in the limiter: its counts, the limits that the API announced for it, and whether it is paused."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from operator import sub
from urllib.parse import urlsplit

from convoforge.rate import KINDS, Entry, Kind, Limits, Need, Permit


def limit_name(endpoint: str, key_fingerprint: str, model: str, kind: Kind) -> str:
    """The name of a limit in Prefect: ``convoforge:claude-sonnet-5-5:api.anthropic.com:3f2a9c:requests``.

    `endpoint` is a URL or any label. Prefect forbids ``/ % & < >`` in a name and puts it unescaped into a URL's path, where ``?``
    and ``#`` would cut it off: all characters but letters, digits and ``. _ -`` become a hyphen.
    """
    url = urlsplit(endpoint)
    address = url.netloc.rpartition("@")[2] + url.path.rstrip("/") if url.netloc else endpoint
    return ":".join(
        ["convoforge", *(re.sub(r"[^\w.-]+", "-", part, flags=re.ASCII) for part in (model, address, key_fingerprint, kind))]
    )


class Window:
    """An exact sliding window: an amount taken counts for `seconds`, and no half-open window ever holds more than `capacity`.

    `total` is the limit, `capacity` the part of it that is admitted. The seed pauses when the used share of the total has reached
    the threshold; here a request that would exceed it waits, so `capacity` is the floor of total × threshold, but at least 1.
    Times are seconds on any monotonic clock. Amortized O(1) per call.
    """

    __slots__ = ("_entries", "_threshold", "_used", "capacity", "seconds", "total")

    def __init__(self, total: float, seconds: float, pause_threshold: float) -> None:
        self.seconds = seconds
        self.total = self.capacity = math.inf
        self._threshold = pause_threshold
        self._used = 0.0
        self._entries: deque[Entry] = deque()
        self.lower(total)

    def lower(self, total: float) -> None:
        """Set the limit to `total` if that is lower."""
        if total < self.total:
            self.total = total
            # the millionth corrects float rounding: 0.29 × 100 is 28.999…
            self.capacity = max(1, math.floor(total * self._threshold + 1e-6))

    def used(self, now: float) -> float:
        while self._entries and self._entries[0].expires <= now:
            self._used -= self._entries.popleft().amount
        return self._used

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` fits; 0 if it does. More than the whole capacity fits into an empty window."""
        excess = self.used(now) + min(amount, self.capacity) - self.capacity
        if excess <= 0:
            return 0.0
        for entry in self._entries:
            excess -= entry.amount
            if excess <= 0:
                return entry.expires - now
        return self.seconds

    def take(self, amount: float, now: float) -> Entry:
        """Count `amount` from `now` on; the returned entry can be corrected later."""
        entry = Entry(now + self.seconds, amount)
        self._entries.append(entry)
        self._used += amount
        return entry

    def correct(self, entry: Entry, amount: float, now: float) -> None:
        """Change the amount of `entry`. If the entry has expired, an excess over it counts from `now`."""
        self.used(now)
        excess = amount - entry.amount
        if entry.expires > now:
            entry.amount = amount
            self._used += excess
        elif excess > 0:
            self.take(excess, now)


class Key:
    """One API key's windows, one for each of `KINDS`; `held_until` is the end of its pause."""

    def __init__(self, index: int, name: str, limits: Limits, totals: Sequence[float | None] = (None,) * len(KINDS)) -> None:
        self.index = index
        self.fingerprint = name
        self.windows = tuple(
            Window(math.inf if total is None else total, limits.window_seconds, limits.pause_threshold) for total in totals
        )
        self.held_until = -math.inf

    def wait(self, need: Need, now: float) -> float:
        """Seconds until `need` fits; infinite if it never will."""
        wait = self.held_until - now
        for window, amount in zip(self.windows, need.amounts, strict=True):
            wait = max(wait, window.wait(amount, now))
        return max(0.0, wait)

    def room(self, now: float) -> float:
        """Number of requests that fit now."""
        return self.windows[0].capacity - self.windows[0].used(now)

    def rooms(self, now: float) -> list[float]:
        """The amount of each of `KINDS` that fits now; negative if more is used than the capacity."""
        return [window.capacity - window.used(now) for window in self.windows]

    def fitting(self, needs: Iterable[Need], now: float) -> int:
        """Number of `needs`, in order, that fit together now."""
        rooms = self.rooms(now)
        count = 0
        for need in needs:
            rooms = list(starmap(sub, zip(rooms, need.amounts, strict=True)))
            if min(rooms) < 0:
                break
            count += 1
        return count

    def take(self, need: Need, now: float, until: float = math.inf) -> Permit:
        """Count `need`. Does not check that it fits: the caller has."""
        entries = tuple(window.take(amount, now) for window, amount in zip(self.windows, need.amounts, strict=True))
        return Permit(self.index, self.fingerprint, need, until, entries=entries)

    def correct(self, permit: Permit, amounts: tuple[int, int, int], now: float) -> None:
        """Change the amounts that `permit` has taken of each of `KINDS`."""
        for window, entry, amount in zip(self.windows, permit.entries, amounts, strict=True):
            window.correct(entry, amount, now)

    def hold(self, until: float) -> None:
        self.held_until = max(self.held_until, until)

    def learn(self, need: Need, headers: Mapping[str, str], now: float) -> None:
        """Lower the windows to the API's limits per minute. If nothing is left there, pause until `need` has been refilled."""
        for kind, window, amount in zip(KINDS, self.windows, need.amounts, strict=True):
            limit = _number(headers, f"anthropic-ratelimit-{kind}-limit")
            if not limit:
                continue
            window.lower(limit * window.seconds / 60)
            if _number(headers, f"anthropic-ratelimit-{kind}-remaining") == 0:
                self.hold(now + min(60.0, amount * 60 / limit))  # a minute refills the whole limit


def _number(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name, "")
    return float(text) if text.isdecimal() else None
