"""Prompt caching: which part of an input is read from the cache, and which part is written to it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from convoforge.models import Usage
from convoforge.simulator.reading import ParsedRequest

LIFETIME_SECONDS = 300
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class CacheReading:
    """Usage of the input, and digests of the prefixes to store once the answer begins."""

    usage: Usage
    writes: tuple[bytes, ...] = ()


class SimulatedCache:
    """Stored prefixes of inputs, per model. A prefix can be read from the start of its first answer until its lifetime ends."""

    def __init__(self) -> None:
        self._kept: dict[bytes, float] = {}

    def read(self, asked: ParsedRequest, now: float) -> CacheReading:
        """Bill the input at `now` (seconds on a monotonic clock). A prefix that is read is stored for another lifetime."""
        total = asked.input_tokens
        digest = blake2b(asked.model.id.encode(), digest_size=16)
        length = 0
        prefixes: list[tuple[bytes, int]] = []
        for block in asked.blocks:
            digest.update(b"\0" + block.text.encode(errors="surrogatepass"))
            length += len(block.text)
            if block.cached:
                prefixes.append((digest.digest(), asked.model.count_tokens(length)))
        key, found = next(((key, size) for key, size in reversed(prefixes) if self._kept.get(key, 0.0) > now), (b"", 0))
        if found:
            self.keep((key,), now)
        writes = [(key, size) for key, size in prefixes if size > found and size >= asked.model.cache_minimum]
        end = max((size for _, size in writes), default=found)
        usage = Usage(input_tokens=total - end, cache_read_tokens=found, cache_write_5m_tokens=end - found)
        return CacheReading(usage, tuple(key for key, _ in writes))

    def keep(self, writes: tuple[bytes, ...], now: float) -> None:
        """Store prefixes for their lifetime from `now` on; drops the least recently used if there are too many."""
        for key in writes:
            self._kept.pop(key, None)
            self._kept[key] = now + LIFETIME_SECONDS
        while len(self._kept) > MAX_ENTRIES:
            del self._kept[next(iter(self._kept))]
