"""Schema changes, append-only. Run by `connect`; there is no command for it to forget."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def known_versions() -> set[str]:
    """Every schema version that this release can start from."""
    return {script.revision for script in _scripts().walk_revisions()}


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version, within the caller's transaction."""
    scripts = _scripts()
    head = scripts.get_current_head() or "base"

    def steps(found: tuple[str, ...], _context: MigrationContext) -> list[object]:
        return list(scripts._upgrade_revs(head, found or "base"))  # type: ignore[arg-type]  # noqa: SLF001 - as alembic's own command does

    context = MigrationContext.configure(connection, opts={"fn": steps, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()
