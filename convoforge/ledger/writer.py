"""One writer per process, with group commit: one thread writes all waiting items in one transaction.

A write is a function of (connection, items) and an item: all waiting items of one function are passed to it together. An awaited
write has been committed. If a transaction fails, each item is tried again alone, so that one bad item does not fail the others.
If a commit's answer is lost with the connection, the database is asked whether it committed: repeating it could count a cost
twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from convoforge.errors import ConvoforgeError, LedgerError
from convoforge.ledger.connect import describe_error

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Connection, Sequence[Item]], Sequence[Result]]

_MAX_ITEMS = 512
"""Maximum number of items in one transaction."""

GATHER_SECONDS = 0.01
"""Seconds that a busy writer waits for more items: a commit costs the same for one item as for fifty, and calls take seconds."""

PATIENCE_SECONDS = 120.0
"""Maximum seconds that a write waits for a database that is gone or locked."""

SPARE_BYTES = 16_000_000
"""Bytes that a SQLite ledger reserves on its disk for when it is full: enough for the answers of a thousand calls in flight."""

LOOK_AGAIN_SECONDS = 1.0
"""Minimum seconds between two checks of a full disk."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    write: Write[Any, Any]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """The thread that makes all writes of a process to one ledger.

    `waiting` is a message what it waits for, and `full` a message that the disk is full: then calls in flight can still be
    recorded, but no new ones may begin. Both are empty while all is well. Raises `LedgerError` if the disk is full already.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waiting = ""
        self.full = ""
        self._advice = f"the disk is full: make room at {engine.url.database} and build again; what was paid for is kept"
        self._looking, self._looked_at = threading.Lock(), -math.inf
        self._spare = self._put_by()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()
        self.commits = 0

    async def write(self, write: Write[Item, Result], item: Item) -> Result:
        """Write one item; returns its result once it is committed. Raises `LedgerError` if the database refuses it.

        Cancelling the caller does not undo the write.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(write, item, loop, loop.create_future())
        self._queue.put(waiting)
        result: Result = await asyncio.shield(waiting.future)
        return result

    def look_for_room(self) -> None:
        """If the disk was full and has room again, restore the reserve, so that new calls may begin. Blocks for a moment."""
        with self._looking:
            if not self.full or time.monotonic() - self._looked_at < LOOK_AGAIN_SECONDS:
                return
            self._looked_at = time.monotonic()
            folder = Path(self._engine.url.database or ".").expanduser().parent
            if shutil.disk_usage(folder).free < 2 * SPARE_BYTES:
                return
            with suppress(LedgerError):
                self._spare = self._put_by()
                self.full = ""
                _LOG.info("there is room on the ledger's disk again")

    def close(self) -> None:
        """Finish waiting writes, then end the thread."""
        self._queue.put(None)
        self._thread.join()
        if self._spare is not None:
            self._spare.close()

    def _run(self) -> None:
        busy = False
        while True:
            first = self._queue.get()
            if first is None:
                return
            if busy:
                time.sleep(GATHER_SECONDS)
            group, last = [first], False
            while len(group) < _MAX_ITEMS and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    last = True
                    break
                group.append(more)
            if not self._commit(group):
                for one in group:
                    self._commit([one], final=True)
            _deliver(group)
            busy = len(group) > 1
            if last:
                return

    def _commit(self, group: list[_Waiting], *, final: bool = False) -> bool:
        by_write: dict[Write[Any, Any], list[_Waiting]] = {}
        for waiting in group:
            by_write.setdefault(waiting.write, []).append(waiting)
        deadline = time.monotonic() + PATIENCE_SECONDS
        receipt: list[str] = []
        while True:
            try:
                with self._engine.begin() as connection:
                    if not _arrived(connection, receipt, deadline):
                        receipt.clear()
                        for write, some in by_write.items():
                            for waiting, result in zip(some, write(connection, [w.item for w in some]), strict=True):
                                waiting.result = result
                        receipt += _receipt(connection)  # from here on, only the commit can fail
            except OperationalError as error:
                failure = LedgerError(f"the ledger does not answer: {describe_error(error)}")
                if not is_passing(error) or time.monotonic() > deadline:
                    return self._fail(group, failure)
                if not (_is_full(error) and self._make_room()):
                    self.waiting = f"waiting: {failure}"
                    time.sleep(0.5)
                continue
            except ConvoforgeError as error:
                # with a receipt it is unknown whether the items were committed, and a second try may write them twice
                return self._fail(group, error) if final or len(group) == 1 or receipt else False
            except SQLAlchemyError as error:
                failure = LedgerError(f"the ledger refused a write: {describe_error(error)}")
                return self._fail(group, failure) if final or len(group) == 1 else False
            except Exception as error:  # noqa: BLE001 - a bug of ours must reach the waiting caller, not end the thread
                return self._fail(group, error) if final or len(group) == 1 else False
            self.commits += 1
            self.waiting = ""
            return True

    def _put_by(self) -> IO[bytes] | None:
        """Reserve disk space in an unnamed file, which the system frees when it is closed or the process ends in any way."""
        database = self._engine.url.database
        if self._engine.dialect.name != "sqlite" or not database:
            return None
        try:
            spare = tempfile.TemporaryFile(dir=Path(database).expanduser().parent, buffering=0)  # noqa: SIM115 - closed when the room is needed
            noise = os.urandom(1_000_000)  # zeros would take no space on some file systems
            for _ in range(SPARE_BYTES // len(noise)):
                if spare.write(noise) < len(noise):
                    raise OSError
        except OSError:
            raise LedgerError(self._advice) from None
        return spare

    def _make_room(self) -> bool:
        """Free the reserved disk space. Returns False if there is none left."""
        if self._spare is None:
            return False
        self.full = self._advice
        _LOG.error("%s", self._advice)
        self._spare.close()
        self._spare = None
        return True

    @staticmethod
    def _fail(group: list[_Waiting], error: BaseException) -> bool:
        for waiting in group:
            waiting.error = error
        return True


def is_passing(error: OperationalError) -> bool:
    """Whether waiting may help: the database is gone, restarting, full, or locked for longer than the driver waits."""
    message = str(error.orig).lower()
    return error.connection_invalidated or any(sign in message for sign in _PASSING)


def _is_full(error: OperationalError) -> bool:
    return "disk is full" in str(error.orig).lower()


def _receipt(connection: Connection) -> list[str]:
    """The id of a transaction, to ask for if its commit gets no answer; empty for SQLite, which always answers."""
    if connection.dialect.name != "postgresql":
        return []
    return [connection.execute(text("SELECT CAST(pg_current_xact_id() AS text)")).scalar_one()]


def _arrived(connection: Connection, receipt: Sequence[str], deadline: float) -> bool:
    """Whether the transaction of a receipt was committed. A server that crashed before storing any of it does not know its id."""
    known = "CAST(:receipt AS xid8) < pg_snapshot_xmax(pg_current_snapshot())"
    asked = text(f"SELECT CASE WHEN {known} THEN pg_xact_status(CAST(:receipt AS xid8)) END")
    for one in receipt:
        while (state := connection.execute(asked, {"receipt": one}).scalar_one()) == "in progress":
            if time.monotonic() > deadline:
                raise LedgerError("the ledger does not say whether it has taken a write")
            time.sleep(0.1)  # the server has not noticed yet that the connection is lost
        return bool(state == "committed")
    return False


_PASSING = (
    "locked",
    "busy",
    "full",
    "no space left",
    "disk i/o",
    "unable to open",
    "connect",
    "terminat",
    "starting up",
    "shutting down",
    "recovery",
)


def _deliver(group: list[_Waiting]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for waiting in group:
        by_loop.setdefault(waiting.loop, []).append(waiting)
    for loop, some in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, also a moment ago: nobody waits any more
            loop.call_soon_threadsafe(_resolve, some)


def _resolve(some: list[_Waiting]) -> None:
    for waiting in some:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
