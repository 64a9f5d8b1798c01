"""One writer per process, with group commit: whatever waits is written in one transaction, by one thread.

A write is a function of (connection, items) and an item: all waiting items of one function are handed to it together. An
awaited write has been committed. If a transaction fails, each item is tried again alone, so that one bad item harms nobody else.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from convoforge.errors import ConvoforgeError, LedgerError

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Connection, Sequence[Item]], Sequence[Result]]

_MOST = 512

GATHER_SECONDS = 0.01
"""How long a busy writer waits for company: a commit costs the same for one answer as for fifty, and a call takes seconds."""

PATIENCE_SECONDS = 120.0
"""How long a write waits for a database that is gone or locked before it gives up."""


@dataclass(slots=True)
class _Waiting:
    write: Write[Any, Any]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """The thread that owns all writes of a process to one ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()
        self.commits = 0

    async def write(self, write: Write[Item, Result], item: Item) -> Result:
        """Hand over one item; returns its result once it is committed. Raises `LedgerError` if the database refuses it.

        Cancelling the caller does not take the write back.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(write, item, loop, loop.create_future())
        self._queue.put(waiting)
        result: Result = await asyncio.shield(waiting.future)
        return result

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        busy = False
        while True:
            first = self._queue.get()
            if first is None:
                return
            if busy:
                time.sleep(GATHER_SECONDS)
            group, last = [first], False
            while len(group) < _MOST and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    last = True
                    break
                group.append(more)
            if not self._commit(group):
                for one in group:
                    self._commit([one], final=True)
            _tell(group)
            busy = len(group) > 1
            if last:
                return

    def _commit(self, group: list[_Waiting], *, final: bool = False) -> bool:
        by_write: dict[Write[Any, Any], list[_Waiting]] = {}
        for waiting in group:
            by_write.setdefault(waiting.write, []).append(waiting)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    for write, some in by_write.items():
                        for waiting, result in zip(some, write(connection, [w.item for w in some]), strict=True):
                            waiting.result = result
            except OperationalError as error:
                if _passes(error) and time.monotonic() < deadline:
                    time.sleep(0.5)
                    continue
                return self._fail(group, LedgerError(f"the ledger does not answer: {str(error.orig).splitlines()[0]}"))
            except ConvoforgeError as error:
                return self._fail(group, error) if final or len(group) == 1 else False
            except SQLAlchemyError as error:
                said = LedgerError(f"the ledger refused a write: {str(getattr(error, 'orig', error)).splitlines()[0]}")
                return self._fail(group, said) if final or len(group) == 1 else False
            except Exception as error:  # noqa: BLE001 - a fault of ours must reach whoever waits, not end the thread
                return self._fail(group, error) if final or len(group) == 1 else False
            self.commits += 1
            return True

    @staticmethod
    def _fail(group: list[_Waiting], error: BaseException) -> bool:
        for waiting in group:
            waiting.error = error
        return True


def _passes(error: OperationalError) -> bool:
    """Whether to wait: gone, restarting, full, or locked for longer than the driver waits. A missing table does not come back."""
    said = str(error.orig).lower()
    return error.connection_invalidated or any(sign in said for sign in _PASSING)


_PASSING = (
    "locked",
    "busy",
    "full",
    "disk i/o",
    "unable to open",
    "connect",
    "terminat",
    "starting up",
    "shutting down",
    "recovery",
)


def _tell(group: list[_Waiting]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for waiting in group:
        by_loop.setdefault(waiting.loop, []).append(waiting)
    for loop, some in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, some)


def _resolve(some: list[_Waiting]) -> None:
    for waiting in some:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
