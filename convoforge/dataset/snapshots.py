"""Keeps the snapshots of the datasets that are looked at, and makes them anew in the background when the ledger has changed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from convoforge.dataset.snapshot import Snapshot, make_snapshot, read_mark
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.models import Provider
from convoforge.settings import Settings

WAIT_SECONDS = 0.2
"""Maximum seconds that a reader waits for a newer snapshot where there is an older one."""

CHECK_SECONDS = 1.0
"""Seconds for which a snapshot counts as the newest without another look at the ledger, which takes 20 ms for 100,000 answers."""

FIRST_SECONDS = 1.5
"""Seconds after which a reader is told that a dataset is being read, where there is nothing to show yet."""

MAX_AGE_SECONDS = 60.0
"""A snapshot of this age is made anew even if nothing seems to have changed: scorers and templates may have."""

REST = 4
"""Times as long as a snapshot took to make, nothing is made anew: a build changes the ledger all the time."""

MAX_ROWS = 1_000_000
"""Maximum number of answers in all snapshots that are kept, some 200 bytes each; the one looked at last is always kept."""

MAX_TEXT_BYTES = 512 * 2**20
"""Maximum bytes of texts in memory, of all snapshots; those of the one that was searched last are always kept."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is known of a dataset without waiting: its snapshot. Where there is none, `is_coming` says whether one is being made; if not,
    `has_failed` tells what cannot be made from what was let go for others."""

    snapshot: Snapshot | None
    is_coming: bool
    has_failed: bool


@dataclass(slots=True)
class _Kept:
    """A snapshot, or the work on one; `made` is when that ended, well or not, and `planned` when its plan was made."""

    snapshot: Snapshot | None = None
    work: Future[Snapshot] | None = None
    seconds: float = 0.0
    made: float = 0.0
    planned: float = 0.0
    checked: float = 0.0
    is_let_go: bool = False


class Snapshots:
    """Snapshots by dataset and provider, for any number of threads; one at a time is made."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._kept: OrderedDict[tuple[str, Provider], _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "snapshot")

    def get(
        self,
        name: str,
        provider: Provider,
        *,
        with_texts: bool = False,
        wait_seconds: float | None = WAIT_SECONDS,
        first_seconds: float | None = None,
    ) -> Snapshot:
        """The newest snapshot of a dataset: of this moment if it is made within `wait_seconds` (None: however long it takes), else the one
        before. The first one, and the first with texts, are waited for, but for `first_seconds` at most.

        Raises `ConfigError` for an unknown dataset, `TimeoutError` where the first one takes longer: it is made all the same.
        """
        key = (name, provider)
        with self._lock:
            kept = self._kept.get(key, _Kept())
        before = kept.snapshot
        is_old = before is None or time.monotonic() - kept.made > MAX_AGE_SECONDS
        lacks = before is None or (with_texts and before.texts is None)
        if before is not None and not is_old and not lacks:
            if time.monotonic() - kept.checked < CHECK_SECONDS:
                return before
            if self._ledger.read(read_mark, before.dataset_id) == before.mark:
                kept.checked = time.monotonic()
                return before
        with self._lock:
            kept = self._kept.setdefault(key, kept)
            self._kept.move_to_end(key)
            rests = time.monotonic() - kept.made < REST * kept.seconds and not lacks and wait_seconds is not None
            if (kept.work is None or kept.work.done()) and not rests:
                kept.work = self._worker.submit(self._make, key, kept, with_texts=with_texts)
            work = kept.work
        if work is None or (before is not None and not lacks and rests):
            assert before is not None
            return before
        try:
            made = work.result(first_seconds if lacks else wait_seconds)
        except NotYet:
            if before is None or lacks:
                raise
            return before
        except ConfigError:
            with self._lock:
                self._kept.pop(key, None)
            raise
        if with_texts and made.texts is None:
            return self.get(name, provider, with_texts=True, first_seconds=first_seconds)
        return made

    def peek(self, name: str, provider: Provider) -> Glance:
        """What is there. Begins the first snapshot; one that could not be made is tried again after a while, one that was let go is not."""
        with self._lock:
            kept = self._kept.setdefault((name, provider), _Kept())
            has_ended = kept.work is not None and kept.work.done()
            is_due = kept.work is None or (has_ended and time.monotonic() - kept.made > MAX_AGE_SECONDS)
            if kept.snapshot is None and not kept.is_let_go and is_due:
                kept.work, has_ended = self._worker.submit(self._make, (name, provider), kept, with_texts=False), False
            has_failed = kept.snapshot is None and has_ended and not kept.is_let_go
            return Glance(kept.snapshot, kept.snapshot is None and not kept.is_let_go and not has_failed, has_failed)

    def look_again(self, name: str, provider: Provider) -> None:
        """Look at the ledger the next time, whenever that is: the caller has just changed it."""
        with self._lock:
            if (kept := self._kept.get((name, provider))) is not None:
                kept.checked = 0.0

    def _make(self, key: tuple[str, Provider], kept: _Kept, *, with_texts: bool) -> Snapshot:
        began, before = time.monotonic(), kept.snapshot
        with_texts = with_texts or (before is not None and before.texts is not None)
        keep_plan = began - kept.planned < MAX_AGE_SECONDS
        try:
            made = make_snapshot(self._ledger, self._settings, *key, before, with_texts=with_texts, keep_plan=keep_plan)
        except Exception:
            kept.made = time.monotonic()
            raise
        with self._lock:
            kept.snapshot, kept.made, kept.checked, kept.is_let_go = made, time.monotonic(), began, False
            kept.planned = kept.planned if keep_plan and before is not None and made.plan is before.plan else began
            kept.seconds = kept.made - began
            self._bound()
        return made

    def _bound(self) -> None:
        """Let go of what was looked at longest ago. The caller holds the lock."""
        rows, texts = 0, 0.0
        for number, one in enumerate([one for one in reversed(self._kept.values()) if one.snapshot is not None]):
            assert one.snapshot is not None
            rows += one.snapshot.frame.height
            texts += one.snapshot.texts.estimated_size() if one.snapshot.texts is not None else 0
            if number and rows > MAX_ROWS:
                one.snapshot, one.is_let_go = None, True
            elif number and texts > MAX_TEXT_BYTES:
                one.snapshot = replace(one.snapshot, texts=None)
            if one.work is not None and one.work.done():
                one.work = None  # it holds the snapshot, too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._worker.shutdown(cancel_futures=True)
