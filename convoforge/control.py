"""A run's calls in this process: what stops them, and what has become of them so far. Shared by all who make calls for the run."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from convoforge.errors import RejectedError
from convoforge.gate import Gate

SAME_REJECTION_LIMIT = 10
"""So many of the same 400 in a row stop a run: the fault is in what is sent, not in one request."""


@dataclass(slots=True)
class Control:
    """What makes the calls of one run in this process stop, and what they have done so far.

    `settled` is set when the next call has been booked, or the run stops; then another event takes its place.
    """

    stopped: str | None = None
    doomed: bool = False
    in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    tally: Counter[str] = field(default_factory=Counter)
    unanswered: set[int] = field(default_factory=set)
    cost_pico: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    gate: Gate | None = None
    _rejection: tuple[str, int] = ("", 0)

    def stop(self, reason: str, *, doomed: bool = False) -> None:
        """Send nothing new. The first reason stays; doom is remembered."""
        self.doomed = self.doomed or doomed
        if self.stopped is None:
            self.stopped = reason
            if self.gate is not None:
                self.gate.close(reason)
            self.booked()

    def booked(self) -> None:
        """Wake those who wait for room in a budget."""
        self.settled.set()
        self.settled = asyncio.Event()

    def rejected(self, error: RejectedError | None) -> None:
        """Count refusals of the same kind in a row; None is a request that was not refused."""
        said = f"{error.status} {error.kind}: {error}" if error else ""
        count = self._rejection[1] + 1 if said and said == self._rejection[0] else int(bool(said))
        self._rejection = (said, count)
        if error is not None and count >= SAME_REJECTION_LIMIT:
            self.stop(f"{count} requests in a row were refused alike: {error}", doomed=True)
