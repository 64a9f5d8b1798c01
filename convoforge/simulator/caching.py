"""Prompt caching: which part of an input was seen before, which part is written for the next time."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from convoforge.models import Usage
from convoforge.simulator.reading import LIFETIMES, ParsedRequest

ENTRIES = 20_000
"""Prefixes kept at most: bounds the memory."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The input's part of an answer's usage, and the prefixes (digest, lifetime in seconds) to keep once the answer begins."""

    usage: Usage
    writes: tuple[tuple[bytes, int], ...] = ()


class SimulatedCache:
    """Prefixes of inputs per model. A prefix is readable as soon as the first answer to it has begun, until its lifetime ends."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[float, int]] = {}

    def read(self, asked: ParsedRequest, now: float) -> Reading:
        """How the input is billed at `now` (seconds on a steady clock). What is read lives on for another lifetime."""
        total = asked.input_tokens
        last = max((at for at, piece in enumerate(asked.pieces) if piece.lifetime), default=None)
        if last is None:
            return Reading(Usage(input_tokens=total))
        digest = blake2b(asked.model.id.encode(), digest_size=16)
        ends: list[tuple[bytes, int, int]] = []
        length = 0
        for piece in asked.pieces[: last + 1]:
            digest.update(b"\0" + piece.text.encode(errors="surrogatepass"))
            length += len(piece.text)
            ends.append((digest.copy().digest(), asked.model.tokens(length), piece.lifetime))
        found = 0
        for key, size, _ in reversed(ends):
            until, lifetime = self._kept.get(key, (0.0, 0))
            if until > now:
                found = size
                self.keep(((key, lifetime),), now)
                break
        writes = [end for end in ends if end[2] and end[1] > found and end[1] >= asked.model.cache_minimum]
        one_hour = max((size for _, size, lifetime in writes if lifetime == LIFETIMES["1h"]), default=found)
        end = max((size for _, size, _ in writes), default=found)
        return Reading(
            Usage(
                input_tokens=total - end,
                cache_read_tokens=found,
                cache_write_5m_tokens=end - one_hour,
                cache_write_1h_tokens=one_hour - found,
            ),
            tuple((key, lifetime) for key, _, lifetime in writes),
        )

    def keep(self, writes: tuple[tuple[bytes, int], ...], now: float) -> None:
        """Keep prefixes for their lifetimes from `now` on; the least recently used give way."""
        for key, lifetime in writes:
            self._kept.pop(key, None)
            self._kept[key] = (now + lifetime, lifetime)
        while len(self._kept) > ENTRIES:
            del self._kept[next(iter(self._kept))]
