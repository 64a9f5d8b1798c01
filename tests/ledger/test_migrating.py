"""A ledger of an older release is brought up to date when it is opened; one of a preliminary version is refused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from convoforge.errors import LedgerError
from convoforge.ledger import Ledger, connect, migrations
from convoforge.ledger.runs import ensure_dataset, list_datasets
from convoforge.ledger.tables import HEAD

NOW = datetime(2026, 11, 22, 23, 58, tzinfo=UTC)
NEXT = f"{int(HEAD) + 1:04}"

MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("color", sa.String(8), nullable=False, server_default="blue"))
"""


def stamp(connection: Connection, version: str) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_a_ledger_of_an_older_release_is_migrated_with_all_it_holds(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(database_url) as ledger:
        ledger.write(ensure_dataset, "advice", "anthropic", NOW)
    shutil.copytree(migrations.FOLDER / "versions", tmp_path / "versions")
    (tmp_path / "versions" / f"v{NEXT}_color.py").write_text(MIGRATION)
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    monkeypatch.setattr(connect, "HEAD", NEXT)
    for _ in range(2):  # the second time there is nothing left to do
        with Ledger(database_url) as ledger:
            assert ledger.read(connect._read) == NEXT
            assert ledger.read(list_datasets) == [("advice", "anthropic")]
            assert ledger.read(lambda c: c.execute(text("SELECT color FROM datasets")).scalar_one()) == "blue"


@pytest.mark.parametrize("version", ["0001", "0005"])
def test_a_ledger_of_a_preliminary_version_is_refused_unchanged(database_url: str, version: str) -> None:
    with Ledger(database_url) as ledger:
        ledger.write(stamp, version)
        before = inspect(ledger.engine).get_table_names()
    with pytest.raises(LedgerError) as caught:
        Ledger(database_url)
    assert str(caught.value).startswith("the ledger at ")
    assert str(caught.value).endswith(
        f" is from an earlier preliminary version of convoforge (schema {version}, this one knows {HEAD}) and cannot be migrated: "
        "move it elsewhere, or set CONVOFORGE_DATABASE_URL to another database, and build again"
    )
    assert "\n" not in str(caught.value)
    engine = ledger.engine
    assert inspect(engine).get_table_names() == before
    engine.dispose()


def test_a_database_from_a_newer_version_is_refused(database_url: str) -> None:
    with Ledger(database_url) as ledger:
        ledger.write(stamp, "9999")
    with pytest.raises(LedgerError, match=r"newer version of convoforge \(schema 9999, this one knows .*\): upgrade convoforge"):
        Ledger(database_url)
