"""What the natural globs of readers find in a data folder: what was accepted, once, or an error; never a mixture without a word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow.dataset as ds  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from convoforge.models import Status
from convoforge.publish import PublishedRow, versions_in

Rows = Callable[..., list[PublishedRow]]
Read = Callable[[str], list[str]]

GLOBS = (
    "datasets/advice/latest/**/*.parquet",
    "datasets/advice/latest/*/*.parquet",
    "datasets/advice/latest/data/*.parquet",
    "datasets/advice/*/data/*.parquet",
    "datasets/advice/*/*/*.parquet",
    "datasets/*/latest/data/*.parquet",
    "datasets/*/*/data/*.parquet",
    "versions/datasets/advice/v0002/**/*.parquet",
    "versions/datasets/advice/v0002/*/*.parquet",
)
"""What a reader must be able to read."""

RECURSIVE = ("datasets/advice/**/*.parquet", "datasets/**/*.parquet")
"""What duckdb cannot read, as it follows no link under `**`."""

FOLDERS = ("datasets/advice/latest/data", "versions/datasets/advice/v0002/data")

WHOLE_FOLDERS = ("datasets/advice/latest", "datasets/advice", "datasets", "versions/datasets/advice/v0002")
"""Where the card lies that `load_dataset` needs: most readers stop at it, loudly."""


def by_duckdb(path: str) -> list[str]:
    return [row[0] for row in duckdb.sql(f"select conversation_id from read_parquet('{path}')").fetchall()]


def by_polars(path: str) -> list[str]:
    return list(pl.scan_parquet(path).select("conversation_id").collect().to_series())


def by_pandas(path: str) -> list[str]:
    paths = glob(path, recursive=True) if "*" in path else [path]  # noqa: PTH207 - what people write
    return [one for file in paths for one in pd.read_parquet(file)["conversation_id"]]


def by_arrow_table(path: str) -> list[str]:
    names: list[str] = pq.read_table(path)["conversation_id"].to_pylist()
    return names


def by_arrow_dataset(path: str) -> list[str]:
    names: list[str] = ds.dataset(path).to_table()["conversation_id"].to_pylist()
    return names


def by_arrow_dataset_of_what_is_valid(path: str) -> list[str]:
    names: list[str] = ds.dataset(path, exclude_invalid_files=True).to_table()["conversation_id"].to_pylist()
    return names


OF_GLOBS: tuple[Read, ...] = (by_duckdb, by_polars, by_pandas)
OF_FOLDERS: tuple[Read, ...] = (by_polars, by_pandas, by_arrow_table, by_arrow_dataset, by_arrow_dataset_of_what_is_valid)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_rows: Rows) -> Path:
    """A data folder with two versions of a dataset, each with rows that were not accepted beside it."""
    from publish.conftest import Dataset, Layout

    folder = tmp_path_factory.mktemp("readers") / "data"
    dataset = Dataset(Layout(folder, "datasets", "advice"))
    for rows in (24, 36):
        dataset.publish(make_rows(rows), make_rows(60, status=Status.DROPPED)[rows:])
    return folder


@pytest.fixture(scope="module")
def accepted(make_rows: Rows) -> list[str]:
    return sorted(row.conversation_id for row in make_rows(36))


@pytest.mark.parametrize("pattern", GLOBS)
@pytest.mark.parametrize("read", OF_GLOBS)
def test_a_glob_reads_what_was_accepted_once(data: Path, accepted: list[str], read: Read, pattern: str) -> None:
    assert sorted(read(f"{data}/{pattern}")) == accepted


@pytest.mark.parametrize("pattern", RECURSIVE)
@pytest.mark.parametrize("read", [by_polars, by_pandas])
def test_a_glob_from_above_latest_reads_what_was_accepted_once(data: Path, accepted: list[str], read: Read, pattern: str) -> None:
    assert sorted(read(f"{data}/{pattern}")) == accepted


@pytest.mark.parametrize("pattern", RECURSIVE)
def test_duckdb_says_that_it_finds_nothing_below_a_link(data: Path, pattern: str) -> None:
    with pytest.raises(duckdb.IOException, match="No files found"):
        by_duckdb(f"{data}/{pattern}")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("read", OF_FOLDERS)
def test_the_folder_of_the_data_is_read_as_a_whole(data: Path, accepted: list[str], read: Read, folder: str) -> None:
    assert sorted(read(f"{data}/{folder}")) == accepted


@pytest.mark.parametrize("folder", WHOLE_FOLDERS)
@pytest.mark.parametrize("read", OF_FOLDERS)
def test_a_folder_with_a_card_is_read_right_or_refused(data: Path, accepted: list[str], read: Read, folder: str) -> None:
    try:
        found = read(f"{data}/{folder}")
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        assert any(told in str(error) for told in ("README.md", "Parquet", "different file extensions"))
        assert read is not by_arrow_dataset_of_what_is_valid
    else:
        assert sorted(found) == accepted


def test_what_was_not_accepted_is_read_where_it_lies(data: Path) -> None:
    path = data / "rejected/datasets/advice/v0002.parquet"
    assert pl.read_parquet(path)["status"].unique().to_list() == ["dropped"]
    told = json.loads((data / "datasets/advice/latest/manifest.json").read_text())["rejected"]
    assert (data / told["path"], told["bytes"]) == (path, path.stat().st_size)


# Data folders of an older release


def age(dataset: Any) -> None:
    """Put the only version where a release of manifest format 1 would have put it, and as it would have."""
    data = dataset.layout.data
    old = shutil.move(dataset.versions / "v0001", dataset.folder / "v0001")
    (old / "revise").mkdir()
    shutil.move(data / "rejected/datasets/advice/v0001.parquet", old / "revise/needs_revision.parquet")
    shutil.rmtree(data / "versions")
    shutil.rmtree(data / "rejected")
    manifest = json.loads((old / "manifest.json").read_text())
    beside = manifest.pop("rejected")
    manifest["format_version"] = 1
    manifest["files"].append({**beside, "path": "revise/needs_revision.parquet"})
    (old / "manifest.json").write_text(json.dumps(manifest))
    (dataset.folder / "latest").unlink()
    (dataset.folder / "latest").symlink_to("v0001")


def test_versions_of_an_older_release_stay_as_they_are_and_the_next_lies_where_globs_are_right(
    dataset: Any, make_rows: Rows, load: Callable[..., Any]
) -> None:
    dataset.publish(make_rows(24, emotion="first"), make_rows(1, status=Status.DROPPED), fingerprint="same")
    age(dataset)
    before = {path: path.read_bytes() for path in dataset.folder.rglob("*") if path.is_file()}
    assert [version.manifest.version for version in versions_in(dataset.layout).good()] == [1]
    again = dataset.publish(make_rows(24, emotion="first"), fingerprint="same")
    assert (again.version, again.unchanged, dataset.latest) == (2, False, "v0002")
    assert (dataset.folder / "latest").resolve() == (dataset.versions / "v0002").resolve()
    assert [version.manifest.version for version in versions_in(dataset.layout).good()] == [1, 2]
    assert {path: data for path, data in before.items() if path.read_bytes() != data} == {}
    assert again.notes[-1] == (
        f"1 versions of an earlier release lie beside latest in {dataset.folder}, where globs read them as well: "
        f"move them to {dataset.versions}"
    )
    assert load(str(dataset.folder / "v0001"), split="train").num_rows == again.splits["train"]
    shutil.move(dataset.folder / "v0001", dataset.versions / "v0001")
    moved = dataset.publish(make_rows(24, emotion="first"), fingerprint="same")
    assert (moved.unchanged, moved.notes, dataset.visible) == (True, (), ["latest", "v0001", "v0002"])
    assert [version.manifest.version for version in versions_in(dataset.layout).good()] == [1, 2]


def test_latest_stays_at_an_old_version_with_more_rows(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24), make_rows(1, status=Status.DROPPED))
    age(dataset)
    fewer = dataset.publish(make_rows(12))
    assert (fewer.version, fewer.latest, dataset.latest) == (2, 1, "v0001")
    assert (dataset.folder / "latest").resolve() == (dataset.folder / "v0001").resolve()


def test_a_data_folder_can_be_moved_and_its_parts_be_links(dataset: Any, make_rows: Rows, tmp_path: Path) -> None:
    elsewhere = tmp_path / "large" / "disk"
    elsewhere.mkdir(parents=True)
    dataset.layout.data.mkdir(parents=True)
    (dataset.layout.data / "datasets").symlink_to(elsewhere)
    dataset.publish(make_rows(24))
    assert len(by_polars(f"{dataset.folder}/latest/data/*.parquet")) == 24
    (dataset.layout.data / "datasets").unlink()
    shutil.rmtree(dataset.layout.data)
    dataset.publish(make_rows(24))
    moved = dataset.layout.data.rename(tmp_path / "moved")
    assert not (moved / "datasets/advice/latest").readlink().is_absolute()
    assert len(by_polars(f"{moved}/datasets/advice/latest/data/*.parquet")) == 24
