"""Rate limits per minute as token buckets, per API key and model, and the rate-limit headers."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from convoforge.simulator.faults import ApiError

KINDS = ("requests", "input-tokens", "output-tokens")
UNLIMITED = {"requests": 1_000_000, "input-tokens": 1_000_000_000, "output-tokens": 1_000_000_000}
"""Limits in the headers if there is no limit."""


class RateBucket:
    """A token bucket of `limit` per minute, full at the start. Times are seconds on a monotonic clock."""

    __slots__ = ("_at", "_level", "limit")

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at = now

    def level(self, now: float) -> float:
        """The amount left; negative if answers took more than there was."""
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / 60)
        self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken. An amount above the limit can be taken from a full bucket."""
        missing = min(amount, self.limit) - self.level(now)
        # the level is a sum of floats: after the announced wait it must not be a billionth short
        return missing * 60 / self.limit if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, even if less is left."""
        self._level = self.level(now) - amount

    def seconds_to_full(self, now: float) -> float:
        """Seconds until the bucket is full again."""
        return (self.limit - self.level(now)) * 60 / self.limit


class Rates:
    """All buckets. `limits` are for `KINDS`, None means unlimited; `wall` gives the time in seconds since 1970."""

    def __init__(self, limits: tuple[int | None, int | None, int | None], wall: Callable[[], float]) -> None:
        self._limits = limits
        self._limited = any(limits)
        self._wall = wall
        self._buckets: dict[tuple[str, str], tuple[RateBucket | None, ...]] = {}

    def admit(self, key: str, model: str, input_tokens: int, now: float) -> None:
        """Admit a request, or raise the 429 with its retry-after. Output is counted later: here one token must be left."""
        if not self._limited:
            return
        buckets = self._find(key, model, now)
        needs = (1, input_tokens, 1)
        waits = {kind: bucket.wait(need, now) for kind, bucket, need in zip(KINDS, buckets, needs, strict=True) if bucket}
        kind, wait = max(waits.items(), key=lambda item: item[1])
        if wait > 0:
            message = f"This request would exceed the rate limit of {kind.replace('-', ' ')} per minute for {model}."
            raise ApiError(429, message, retry_after=math.ceil(wait))
        for bucket, need in zip(buckets[:2], needs, strict=False):
            if bucket:
                bucket.take(need, now)

    def count_output(self, key: str, model: str, output_tokens: int, now: float) -> None:
        if self._limited and (bucket := self._find(key, model, now)[2]):
            bucket.take(output_tokens, now)

    def make_headers(self, key: str, model: str, now: float) -> dict[str, str]:
        out = {}
        for kind, bucket in zip(KINDS, self._find(key, model, now), strict=True):
            limit = bucket.limit if bucket else UNLIMITED[kind]
            out[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
            out[f"anthropic-ratelimit-{kind}-remaining"] = str(max(0, int(bucket.level(now))) if bucket else limit)
            out[f"anthropic-ratelimit-{kind}-reset"] = _format_time(
                math.ceil(self._wall() + (bucket.seconds_to_full(now) if bucket else 0))
            )
        return out

    def _find(self, key: str, model: str, now: float) -> tuple[RateBucket | None, ...]:
        buckets = self._buckets.get((key, model))
        if buckets is None:
            buckets = self._buckets[key, model] = tuple(RateBucket(limit, now) if limit else None for limit in self._limits)
        return buckets


def _format_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
