"""What SQLAlchemy has in every dialect on its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table


def upsert(dialect: str, table: Table) -> Any:
    """An INSERT into `table` that knows ON CONFLICT."""
    # one dialect is imported, not both: a command that only reads should begin at once
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
