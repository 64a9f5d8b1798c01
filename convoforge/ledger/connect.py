"""Opens a ledger: the engine, the check of the schema version, and the differences between the databases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, FromClause, Table, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
from sqlalchemy.sql.compiler import SQLCompiler

from convoforge.errors import ConfigError, LedgerError
from convoforge.files import create_file, make_folder
from convoforge.ledger.tables import HEAD, metadata
from convoforge.project import read_database_url, show_database

BUSY_SECONDS = 60
"""Maximum seconds that SQLite waits for another process's transaction."""


def open_engine(database_url: str) -> Engine:
    """Open an engine on a ledger, and migrate an older schema to this release's.

    Raises `ConfigError` for an invalid URL, and `LedgerError` for a database that cannot be reached or is newer.
    """
    url = _parse(database_url)
    shown = show_database(url.render_as_string(hide_password=False))
    if url.get_backend_name() == "sqlite":
        _make_file(url)
    engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite", connect_args=_connect_args(url))
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", _sqlite_begin)
        engine.dialect.statement_compiler = _make_compiler(engine)
    try:
        with engine.execution_options(read_only=True).connect() as connection:
            current = inspect(connection).has_table("alembic_version") and _read(connection) == HEAD
        if not current:
            _migrate(engine, shown)
    except SQLAlchemyError as error:
        engine.dispose()
        raise LedgerError(f"the ledger at {shown} cannot be opened: {describe_error(error)}. {_advice(url)}") from None
    except LedgerError:
        engine.dispose()
        raise
    return engine


def upsert(dialect: str, table: Table) -> Any:
    """Make an INSERT into `table` that supports ON CONFLICT."""
    # only one dialect is imported: a command that only reads should start fast
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _parse(database_url: str) -> URL:
    try:
        url = make_url(read_database_url(database_url))
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (NoSuchModuleError, ValueError):
        raise ConfigError(
            "CONVOFORGE_DATABASE_URL is not a database address; use sqlite:///PATH or postgresql://USER@HOST/NAME"
        ) from None
    return url


def _connect_args(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": BUSY_SECONDS, "check_same_thread": False}
    return {"connect_timeout": 10}


def _make_file(url: URL) -> None:
    """Create an empty file if there is none: SQLite would make it readable for all, and its other files get the same mode."""
    path = Path(str(url.database)).resolve()
    try:
        make_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"the folder {path.parent} of the ledger cannot be made: {error.strerror}") from None
    if not os.access(path.parent, os.W_OK):
        raise LedgerError(
            f"the folder {path.parent} of the ledger is not writable: change its permissions or CONVOFORGE_DATA_DIR"
        )
    try:
        create_file(path)
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be made: {error.strerror}. {_advice(url)}") from None


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    # FULL: a commit is on disk before it counts. Group commit makes one fsync serve many answers.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF", "cache_size=-2048", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _make_compiler(engine: Engine) -> type[SQLCompiler]:
    """Make an SQLite compiler that writes the hints of `with_hint`: SQLAlchemy leaves them out for SQLite."""

    class HintingCompiler(engine.dialect.statement_compiler):  # type: ignore[name-defined,misc]
        def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
            return text

    return HintingCompiler


def _sqlite_begin(connection: Connection) -> None:
    # IMMEDIATE for transactions that write: two deferred ones that both start to write would fail instead of waiting.
    mode = "" if connection.get_execution_options().get("read_only") else " IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN{mode}")


def _migrate(engine: Engine, shown: str) -> None:
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(40577)"))  # two processes may open an empty database at once
        if not inspect(connection).has_table("alembic_version"):
            _make(connection)
        elif (found := _read(connection)) != HEAD:
            from convoforge.ledger.migrations import known_versions, upgrade  # Alembic takes 0.3 s to import

            if found not in known_versions():
                raise LedgerError(_refuse(found, shown))
            upgrade(connection, found)


def _refuse(found: str, shown: str) -> str:
    if found > HEAD:
        return (
            f"the ledger at {shown} is from a newer version of convoforge (schema {found}, this one knows {HEAD}): "
            "upgrade convoforge"
        )
    return (
        f"the ledger at {shown} is from an earlier preliminary version of convoforge (schema {found}, this one knows {HEAD}) and cannot "
        "be migrated: move it elsewhere, or set CONVOFORGE_DATABASE_URL to another database, and build again"
    )


def _make(connection: Connection) -> None:
    """Create a new ledger: its tables, and its schema version."""
    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _read(connection: Connection) -> str:
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def describe_error(error: SQLAlchemyError) -> str:
    """The database's error message, on one line."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _advice(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return "Is it a SQLite file, readable and writable, on a disk that is not full?"
    return "Is the server running, and is CONVOFORGE_DATABASE_URL right?"
