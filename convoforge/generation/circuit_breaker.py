"""A circuit breaker: after an error that affects every request, nothing is sent for a while, then one request tries, and so on.

The cause may go away by itself: a proxy's page, an account that is topped up, a key that is renewed. Waits double from
`FIRST_SECONDS` to `MAX_SECONDS`, so that a lasting cause costs one call every five minutes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from convoforge.errors import LimiterClosed

FIRST_SECONDS = 5.0
"""Seconds until the first retry."""

MAX_SECONDS = 300.0
"""Maximum seconds until a retry."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class CircuitBreaker:
    """Open from `trip` on; from `until` (seconds on `clock`) one request at a time may try, until one succeeds. `reason` is the
    error, empty while the breaker is closed; `trips` counts how often it opened."""

    clock: Callable[[], float] = time.monotonic
    reason: str = ""
    until: float = 0.0
    probing: bool = False
    trips: int = 0
    _wait: float = 0.0

    def trip(self, reason: str) -> None:
        """Open the breaker: no request can work. Ignored for a request that was sent before it opened."""
        now = self.clock()
        if self.reason and now < self.until and not self.probing:
            return
        self.trips += 1
        self._wait = min(MAX_SECONDS, self._wait * 2 or FIRST_SECONDS)
        self.reason, self.until, self.probing = reason, now + self._wait, False
        _LOG.error("nothing is sent for %.0f s, then one request tries again: %s", self._wait, reason)

    def refusal(self) -> LimiterClosed | None:
        """The error for a request that may not be sent now, with the time to try again; None if it may be sent."""
        left = self.until - self.clock()
        if not self.reason or (left <= 0 and not self.probing):
            return None
        return LimiterClosed(self.reason, retry_after=max(1.0, left))

    def enter(self) -> bool:
        """Whether the request about to be sent is the one that tries. If so, it ends with `leave` or `trip`."""
        if not self.reason:
            return False
        self.probing = True
        return True

    def leave(self, *, worked: bool) -> None:
        """Record the end of the request that tried: `worked` if it was answered."""
        self.probing = False
        if worked and self.reason:
            _LOG.info("requests work again, after: %s", self.reason)
            self.reason, self._wait = "", 0.0
