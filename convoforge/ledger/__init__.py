"""The ledger: every request, attempt, answer and dollar, in SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from convoforge.errors import LedgerError, LedgerFullError
from convoforge.ledger.attempts import start_attempts
from convoforge.ledger.connect import describe_error, open_engine
from convoforge.ledger.writer import PATIENCE_SECONDS, Item, Result, Write, Writer, is_passing

P = ParamSpec("P")
T = TypeVar("T")


class Ledger:
    """An open ledger. It runs this package's functions that take a connection: ``ledger.read(read_runs, limit=5)``.

    `read` and `write` block; inside an event loop use `aread`, `awrite` and `batched`. Close it, or use it in `with`.
    """

    def __init__(self, database_url: str) -> None:
        self.engine: Engine = open_engine(database_url)
        self._reader = self.engine.execution_options(read_only=True)

    @cached_property
    def writer(self) -> Writer:
        """The process's single writer thread, started when first needed."""
        return Writer(self.engine)

    def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading function and return its result. Waits for a restarting server; raises `LedgerError` if it does not
        answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._reader.connect() as connection:
                    return function(connection, *args, **kwargs)
            except SQLAlchemyError as error:
                restarts = self.engine.dialect.name != "sqlite" and isinstance(error, OperationalError) and is_passing(error)
                if not restarts or time.monotonic() > deadline:
                    raise _make_error(error) from error
            time.sleep(0.5)

    def write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing function, commit, and return its result. Raises `LedgerError` if the database refuses it."""
        try:
            with self.engine.begin() as connection:
                return function(connection, *args, **kwargs)
        except SQLAlchemyError as error:
            raise _make_error(error) from error

    async def aread(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, without blocking the event loop."""
        return await asyncio.to_thread(lambda: self.read(function, *args, **kwargs))

    async def awrite(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, in the next group commit."""
        result: T = await self.writer.write(_each, lambda connection: function(connection, *args, **kwargs))
        return result

    async def batched(self, function: Write[Item, Result], item: Item) -> Result:
        """Write one item with a function that writes many at once (`start_attempts`, `finish_attempts`). Raises `LedgerFullError`
        for a new attempt if the disk is full: its answer could not be stored."""
        if function is start_attempts and self.writer.full:
            raise LedgerFullError(self.writer.full)
        return await self.writer.write(function, item)

    async def check_room(self) -> None:
        """Raise `LedgerFullError` if the disk is still full."""
        if self.full:
            await asyncio.to_thread(self.writer.look_for_room)
        if self.full:
            raise LedgerFullError(self.full)

    @property
    def full(self) -> str:
        """The message that the disk is full; empty if it is not."""
        return self.writer.full if "writer" in self.__dict__ else ""

    @property
    def waiting(self) -> str:
        """The message what the writer waits for; empty if it does not wait."""
        return self.writer.waiting if "writer" in self.__dict__ else ""

    def close(self) -> None:
        """Finish waiting writes and close the database."""
        if "writer" in self.__dict__:
            self.writer.close()
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _each(connection: Connection, items: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    return [item(connection) for item in items]


def _make_error(error: SQLAlchemyError) -> LedgerError:
    return LedgerError(f"the ledger does not answer: {describe_error(error)}")
