"""The last answers of a run: if hardly any is accepted, the run stops with the reasons, before it pays for the rest.

A prompt that asks for the wrong thing, a `max_tokens` that cuts off every answer, a threshold that nothing reaches: such a run
would draw each cell `max_draws` times and accept almost nothing.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence

LOOK_BACK = 50
"""Number of latest answers that are judged; a run with fewer is not judged."""

MIN_ACCEPTED = 20
"""Minimum percentage of them that must be accepted."""

_MAX_REASONS = 3
_MAX_QUOTED = 160

_DUPLICATE = "the same conversation as another one"
_KEY_BYTES = 8  # of a content's hash: a clash would count one conversation too few


class RecentAnswers:
    """The last answers of one run in this process: why each is not accepted, and whether it repeats another one.

    Reviews and other processes' answers can change what is accepted in the end, but do not turn almost nothing into a good run.
    `advice` tells a person how to see the answers and what to change.
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self._reasons: deque[tuple[str, ...]] = deque(maxlen=LOOK_BACK)
        self._accepted: set[bytes] = set()

    def know(self, contents: Iterable[bytes | None]) -> None:
        """Remember the content hashes of conversations accepted earlier."""
        self._accepted.update(content[:_KEY_BYTES] for content in contents if content)

    def repeats(self, content_hash: str | None) -> bool:
        """Whether a conversation with this content was accepted before."""
        return content_hash is not None and bytes.fromhex(content_hash)[:_KEY_BYTES] in self._accepted

    def add(self, reasons: Sequence[str], content_hash: str | None) -> str | None:
        """Add an answer with the reasons why it is not accepted (empty if it is). Returns a message to stop the run with if too
        few of the last answers were accepted."""
        if not reasons and content_hash is not None:
            reasons = (_DUPLICATE,) if self.repeats(content_hash) else ()
            self._accepted.add(bytes.fromhex(content_hash)[:_KEY_BYTES])
        self._reasons.append(tuple(reasons))
        accepted = sum(not one for one in self._reasons)
        if len(self._reasons) < LOOK_BACK or 100 * accepted >= MIN_ACCEPTED * LOOK_BACK:
            return None
        return (
            f"hardly anything is accepted, {accepted} of the last {LOOK_BACK} answers: {_leading(self._reasons)}. {self._advice}"
        )

    def check_whole_run(self, accepted: int, generated: int, repeated: int) -> str | None:
        """A message to stop a run with if too few of its answers were accepted, once near-duplicates are known: each round would bring
        more of them."""
        if generated < LOOK_BACK or 100 * accepted >= MIN_ACCEPTED * generated:
            return None
        return f"hardly anything is accepted, {accepted} of the {generated} answers of this run: {repeated} near-duplicates. {self._advice}"


def _leading(answers: Iterable[Sequence[str]]) -> str:
    """The most frequent reasons with their counts. Reasons that differ only in numbers count as one; the first is shown."""
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for reasons in answers:
        kinds = {re.sub(r"\d+", "0", reason): reason for reason in reasons}
        counts.update(kinds.keys())
        for kind, reason in kinds.items():
            shown.setdefault(kind, reason)
    ranked = sorted(counts, key=lambda kind: -counts[kind])[:_MAX_REASONS]
    return "; ".join(f"{_short(shown[kind])} ({counts[kind]})" for kind in ranked)


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _MAX_QUOTED else f"{line[:_MAX_QUOTED]} …"
