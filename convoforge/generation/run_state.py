"""The state of a run in this process: why it stopped, and counts of its calls' results. Shared by all that make its calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from convoforge.errors import RejectedError, UnreadableError
from convoforge.generation.recent_answers import RecentAnswers
from convoforge.ledger.attempts import Completion
from convoforge.models import Conversation, Status
from convoforge.planning.openings import Openings
from convoforge.rate.keys import Key
from convoforge.rate.limiter import RateLimiter
from convoforge.scoring.duplicates import content_hash

SAME_REJECTION_LIMIT = 10
"""Maximum number of equal 400s in a row before a run stops: the fault is in all requests, not in one."""

UNREADABLE_LIMIT = 10
"""Maximum number of unreadable answers in a row before a run stops: they do not come from the API."""


@dataclass(slots=True)
class RunState:
    """Why the calls of one run in this process stop, and what they have done so far.

    `settled` is set when the next call has been recorded, or the run stops; then a new event replaces it. `final` are requests
    that the server does not want to be retried in this run. Without `recent` the run never stops because too few answers are
    accepted; with `openings` its prompts say how others begin. `on_recorded` is told of each call that has been recorded.
    """

    stopped: str | None = None
    fatal: bool = False
    in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    tally: Counter[str] = field(default_factory=Counter)
    unanswered: set[int] = field(default_factory=set)
    final: set[int] = field(default_factory=set)
    cost_pico: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    limiters: tuple[RateLimiter[Key], ...] = ()
    recent: RecentAnswers | None = None
    openings: Openings | None = None
    on_recorded: Callable[[Completion], None] | None = None
    _rejection: tuple[str, int] = ("", 0)
    _unreadable: int = 0

    def stop(self, reason: str, *, fatal: bool = False) -> None:
        """Stop the run: no more requests are sent. Keeps the first reason, and whether any was fatal."""
        self.fatal = self.fatal or fatal
        if self.stopped is None:
            self.stopped = reason
            for limiter in self.limiters:
                limiter.close(reason)
            self.wake_waiting()

    def allow(self, epoch: int) -> None:
        """Raise `LimiterClosed` if requests of this epoch may not be sent. Here it never does: a run has one epoch."""

    def rest(self, seconds: float, reason: str) -> None:
        """Stop the run, as the API asks for a longer wait than `patience_seconds`."""
        self.stop(reason)

    def other_model(self, reason: str) -> None:
        """Stop the run, as another model answers than requested, and the spec does not allow it."""
        self.stop(reason, fatal=True)

    def wake_waiting(self) -> None:
        """Wake the requests that wait for room in a budget."""
        self.settled.set()
        self.settled = asyncio.Event()

    def repeats(self, conversation: Conversation) -> bool:
        """Whether this process knows that a conversation of this content was accepted."""
        return self.recent is not None and self.recent.repeats(content_hash(conversation))

    def note_opening(self, persona: str, topic: str, conversation: Conversation | None) -> None:
        """Tell the next prompts how a conversation begins, if they are told."""
        if self.openings is not None and conversation is not None:
            self.openings.add(persona, topic, conversation)

    def count_answer(self, status: Status, faults: Sequence[str], content_hash: str | None) -> Status:
        """Count an answer, with its `faults` if it is not accepted. Returns its status as far as this process knows: a repetition
        of an accepted conversation is not accepted."""
        if self.recent is None:
            return status
        copy = status is Status.ACCEPTED and self.recent.repeats(content_hash)
        if (message := self.recent.add(faults, content_hash)) is not None:
            self.stop(message)
        return Status.DROPPED if copy else status

    def note_answer(self, error: Exception | None) -> None:
        """Count equal refusals in a row, and unreadable answers in a row; stop the run at their limits. None is a good answer;
        other errors do not change the counts."""
        if isinstance(error, UnreadableError):
            self._unreadable += 1
            if self._unreadable >= UNREADABLE_LIMIT:
                self.stop(f"{self._unreadable} answers in a row could not be read: {error}", fatal=True)
            return
        if error is None or isinstance(error, RejectedError):
            self._unreadable = 0
            message = f"{error.status} {error.kind}: {error}" if error else ""
            count = self._rejection[1] + 1 if message and message == self._rejection[0] else int(bool(message))
            self._rejection = (message, count)
            if error is not None and count >= SAME_REJECTION_LIMIT:
                self.stop(f"{count} requests in a row were refused alike: {error}", fatal=True)
