"""When the API's prompt cache pays: which requests are marked for it, and which one goes first to fill it.

Reading a cached text costs a tenth or less of sending it; writing it costs a quarter more. A text can be read once the first
answer to it has begun, and expires five minutes after its last use. So of many requests with the same text, the first goes ahead,
and the others wait for its answer, for a limited time: if all were sent at once, each would pay the surcharge. A single request
is not marked.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from convoforge.models import Usage
from convoforge.pricing import Price

KEPT_SECONDS = 280.0
"""Seconds that a text stays in the cache after its last use: five minutes, minus the time an answer may take to arrive."""


AHEAD_SECONDS = 10.0
"""Maximum seconds to wait for the request ahead. A text is cached as soon as an answer to it begins; a request that takes longer
may hang."""

PICO_A_SECOND = 1_000_000_000
"""Minimum saving, in pico-dollars, that is worth a second of waiting: a tenth of a cent. A request that waits saves the surcharge
of writing the text and most of its price; a text of 600 tokens at $2 a million is worth 1.4 s."""


def worth_seconds(text: str | None, price: Price, characters_a_token: float) -> float:
    """Maximum seconds to wait for the request ahead: as long as waiting saves enough."""
    if text is None:
        return 0.0
    _, _, per_write, _, per_read = price.pico_per_token
    saved = len(text) / characters_a_token * (per_write - per_read)
    return min(AHEAD_SECONDS, max(0.0, saved / PICO_A_SECOND))


@dataclass(frozen=True, slots=True)
class CacheTurn:
    """How to send a request: marked for the cache (`keep`), and expected to read the text from it (`kept`)."""

    keep: bool = False
    kept: bool = False


@dataclass(slots=True)
class _Text:
    """The state of one text. `useless`: the API does not cache it although marked, as it is too short."""

    under_way: int = 0
    used_until: float = -math.inf
    kept_until: float = -math.inf
    useless: bool = False
    ahead: asyncio.Event | None = None


class PromptCache:
    """The texts of one process's requests. `clock` gives monotonic seconds. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._texts: dict[str, _Text] = {}
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, text: str | None, patience: float | None = None) -> AsyncIterator[CacheTurn]:
        """Enclose one attempt of a request that begins with `text` (None: nothing worth caching). It first waits up to `patience`
        seconds (default `AHEAD_SECONDS`) for the request ahead, and counts as `waiting` meanwhile."""
        if text is None:
            yield CacheTurn()
            return
        known = self._texts.setdefault(text, _Text())
        known.under_way += 1
        ahead: asyncio.Event | None = None
        try:
            await asyncio.sleep(0)  # so that requests started together with this one are counted
            self.waiting += 1
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(AHEAD_SECONDS if patience is None else patience):
                        while known.ahead is not None and not self._kept(known) and not known.useless:
                            await known.ahead.wait()
            finally:
                self.waiting -= 1
            if known.useless or (known.under_way == 1 and self._clock() >= known.used_until):
                yield CacheTurn()
            elif self._kept(known):
                yield CacheTurn(keep=True, kept=True)
            elif known.ahead is not None:
                yield CacheTurn(keep=True)
            else:
                ahead = known.ahead = asyncio.Event()
                yield CacheTurn(keep=True)
        finally:
            known.under_way -= 1
            known.used_until = self._clock() + KEPT_SECONDS
            if ahead is not None:
                ahead.set()
                known.ahead = None

    def note_usage(self, text: str | None, usage: Usage) -> None:
        """Record that a marked request with `text` was answered."""
        if text is None:
            return
        known = self._texts.setdefault(text, _Text())
        if usage.cache_read_tokens or usage.cache_write_tokens:
            known.kept_until = self._clock() + KEPT_SECONDS
        else:
            known.useless = True

    def _kept(self, known: _Text) -> bool:
        return self._clock() < known.kept_until
