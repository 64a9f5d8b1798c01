"""The state of a run that serves many callers for weeks, as the HTTP API's does: one caller's error does not stop the others."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

from convoforge.errors import LimiterClosed, RateLimitError
from convoforge.generation.circuit_breaker import CircuitBreaker
from convoforge.generation.run_state import RunState

_LOG = logging.getLogger(__name__)


@dataclass
class LastingRunState(RunState):
    """The state of a run with many callers: a refused request or a full budget only fails its caller's request. After an error
    that affects every request, the `breaker` is open for a while. Until `rests_until` (seconds on the monotonic clock) the API
    wants no calls; `rests_why` is the message."""

    rests_until: float = -math.inf
    rests_why: str = ""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)

    def stop(self, reason: str, *, fatal: bool = False) -> None:
        """Send nothing for a while if no request can work now. Waiting requests fail at once."""
        if fatal and self.stopped is None:
            self.breaker.trip(reason)
            for limiter in self.limiters:
                limiter.turn_away(lambda: self.breaker.refusal() or LimiterClosed(reason))

    def allow(self, epoch: int) -> None:
        """Raise for a request that came before the breaker opened, wherever it waited: it is not tried later."""
        if self.breaker.reason and epoch != self.breaker.trips:
            raise self.breaker.refusal() or LimiterClosed(self.breaker.reason, retry_after=1)

    def end(self, reason: str, *, fatal: bool = False) -> None:
        """Stop the run for good."""
        super().stop(reason, fatal=fatal)

    def rest(self, seconds: float, reason: str) -> None:
        """Send nothing for `seconds`, as the API asks for a long wait. Waiting and new requests fail at once."""
        self.rests_until, self.rests_why = time.monotonic() + seconds, reason
        for limiter in self.limiters:
            limiter.turn_away(lambda: RateLimitError(reason, retry_after=seconds))

    def other_model(self, reason: str) -> None:
        """Do not stop: the answer's metadata and the log name the other model."""
        _LOG.warning("%s", reason)

    def note_answer(self, error: Exception | None) -> None:
        """Do nothing: ten equal refusals may come from one caller, and ten pages from a proxy may pass."""
