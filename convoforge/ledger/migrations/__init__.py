"""Schema migrations since 1.0, append-only. `connect` runs them when it opens a ledger."""

from __future__ import annotations

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FOLDER = Path(__file__).parent
"""The folder whose subfolder `versions` has one file per migration."""


def known_versions() -> set[str]:
    """All schema versions that this release can migrate from."""
    return {script.revision for script in ScriptDirectory(FOLDER).walk_revisions()}


def upgrade(connection: Connection, found: str) -> None:
    """Migrate the schema from version `found` to the newest one, within the caller's transaction."""
    scripts = ScriptDirectory(FOLDER)
    steps = list(scripts._upgrade_revs(scripts.get_current_head() or found, found))  # noqa: SLF001 - as alembic's own command does
    context = MigrationContext.configure(connection, opts={"fn": lambda _found, _context: steps, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()
