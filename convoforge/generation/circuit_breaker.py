"""A circuit breaker: after an error that no request survives nothing is sent for a while, then one request tries, and so on.

The cause may be gone by itself: a proxy's page, an account that was topped up, a key that was renewed. Waits double from
`FIRST_SECONDS` to `MAX_SECONDS`, so that a cause that stays costs a call every five minutes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from convoforge.errors import LimiterClosed

FIRST_SECONDS = 5.0
"""Seconds until the first request tries again."""

MAX_SECONDS = 300.0
"""Maximum of seconds until a request tries again."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class CircuitBreaker:
    """Open from `trip` on; from `until` (seconds on `clock`) one request after the other may try, until one succeeds. `reason` says
    what happened, and is empty while all is well; `trips` counts how often it opened."""

    clock: Callable[[], float] = time.monotonic
    reason: str = ""
    until: float = 0.0
    probing: bool = False
    trips: int = 0
    _wait: float = 0.0

    def trip(self, reason: str) -> None:
        """Open the breaker: no request can work. A failure of a request sent before it opened changes nothing."""
        now = self.clock()
        if self.reason and now < self.until and not self.probing:
            return
        self.trips += 1
        self._wait = min(MAX_SECONDS, self._wait * 2 or FIRST_SECONDS)
        self.reason, self.until, self.probing = reason, now + self._wait, False
        _LOG.error("nothing is sent for %.0f s, then one request tries again: %s", self._wait, reason)

    def refusal(self) -> LimiterClosed | None:
        """Why a request may not be sent now, and when it may try again; None where it may."""
        left = self.until - self.clock()
        if not self.reason or (left <= 0 and not self.probing):
            return None
        return LimiterClosed(self.reason, retry_after=max(1.0, left))

    def enter(self) -> bool:
        """Whether the request that may be sent now is the one that tries: it ends with `leave`, or with `trip`."""
        if not self.reason:
            return False
        self.probing = True
        return True

    def leave(self, *, worked: bool) -> None:
        """The request that tried has ended: it has had an answer, or nothing is known."""
        self.probing = False
        if worked and self.reason:
            _LOG.info("requests work again, after: %s", self.reason)
            self.reason, self._wait = "", 0.0
