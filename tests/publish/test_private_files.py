"""What is made is for its owner alone, whatever the umask; what was there keeps its mode."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convoforge.files import create_file, make_folder, make_private
from convoforge.ledger import Ledger
from convoforge.ledger.runs import list_datasets
from convoforge.settings import Settings


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o027], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


def assert_private(folder: Path) -> None:
    wrong = {name: mode for name, mode in modes(folder).items() if mode != ("0o700" if (folder / name).is_dir() else "0o600")}
    assert modes(folder)
    assert wrong == {}


def test_the_ledger_and_what_lies_beside_it(umask: None, tmp_path: Path) -> None:
    with Ledger(Settings(data_dir=tmp_path / "new" / "data").database_url) as ledger:
        ledger.read(list_datasets)
        assert ledger.writer.full == ""
        names = {path.name for path in (tmp_path / "new" / "data").iterdir()}
        assert {"ledger.db", "ledger.db-wal", "ledger.db-shm"} <= names
        assert_private(tmp_path)
    assert_private(tmp_path)


def test_what_is_published(umask: None, dataset: Any, make_rows: Any, make_row: Any, tmp_path: Path) -> None:
    dataset.publish(make_rows(8), [make_row(99)])
    dataset.publish(make_rows(9))
    names = modes(tmp_path)
    assert {Path(name).suffix for name in names} >= {".parquet", ".json", ".md"}
    assert any(name.startswith("data/rejected/") for name in names)
    assert_private(tmp_path)


def test_what_was_there_keeps_its_mode(umask: None, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    with Ledger(Settings(data_dir=shared).database_url):
        pass
    (shared / "ledger.db").chmod(0o660)
    with Ledger(Settings(data_dir=shared).database_url) as ledger:
        ledger.read(list_datasets)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o2775
    assert modes(shared)["ledger.db"] == "0o660"


def test_folders_and_files_are_made_once(umask: None, tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    create_file(tmp_path / "a" / "b" / "c")
    (tmp_path / "a" / "b" / "c").write_text("kept")
    create_file(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").read_text() == "kept"
    (tmp_path / "a" / "link").symlink_to("/etc/passwd")
    (tmp_path / "a" / "b" / "c").chmod(0o644)
    make_private(tmp_path / "a")
    assert_private(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        make_folder(tmp_path / "file")
