"""A version from rows to disk: what is in it, and what changes it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from publish.conftest import files_of_at_most

from convoforge.errors import ConfigError, GenerationValidationError, LedgerError
from convoforge.models import Status
from convoforge.publish import PublishedRow, parquet
from convoforge.publish import rows as published_rows
from convoforge.publish.rows import REVISE_SCHEMA, SCHEMA

Rows = Callable[..., list[PublishedRow]]


def files_of(version: Path) -> dict[str, bytes]:
    return {path.relative_to(version).as_posix(): path.read_bytes() for path in version.rglob("*") if path.is_file()}


def ids_of(version: Path, split: str) -> list[str]:
    tables = [pq.read_table(path) for path in sorted((version / "data").glob(f"{split}-*"))]
    return [name for table in tables for name in table["conversation_id"].to_pylist()]


def test_a_version_holds_every_row_once_and_says_so(dataset: Any, make_rows: Rows) -> None:
    rows = make_rows(48)
    published = dataset.publish(rows)
    assert (published.version, published.path, published.rows, published.unchanged) == (1, dataset.versions / "v0001", 48, False)
    assert dataset.visible == ["latest", "v0001"]
    assert dataset.latest == "v0001"
    assert dataset.staged == []
    held = {split: ids_of(published.path, split) for split in ("train", "validation")}
    assert {split: len(ids) for split, ids in held.items()} == published.splits
    assert sorted(held["train"] + held["validation"]) == [row.conversation_id for row in rows]
    assert all(ids == sorted(ids) for ids in held.values()), "rows keep their order"


def test_no_group_is_in_two_splits(dataset: Any, make_rows: Rows) -> None:
    path = dataset.publish(make_rows(48)).path
    groups = [set(pq.read_table(file)["split_group"].to_pylist()) for file in (path / "data").iterdir()]
    assert len(groups) == 2
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 12


def test_the_manifest_tells_what_is_there(dataset: Any, make_rows: Rows) -> None:
    path = dataset.publish(make_rows(48), fingerprint="f" * 64).path
    manifest = json.loads((path / "manifest.json").read_text())
    files = files_of(path)
    told = {file["path"]: (file["sha256"], file["bytes"]) for file in manifest["files"]}
    assert told == {
        name: (hashlib.sha256(held).hexdigest(), len(held)) for name, held in files.items() if name != "manifest.json"
    }
    assert (manifest["format_version"], manifest["dataset"], manifest["version"]) == (2, "advice", 1)
    assert (manifest["rows"], sum(manifest["splits"].values()), manifest["provider"]) == (48, 48, "anthropic")
    assert manifest["recipe"]["fingerprint"] == "f" * 64
    assert manifest["created_at"] == "2026-11-22T12:00:00Z"
    assert manifest["lineage"]["spec_text"] == "name: advice\nseed: 7\n"
    assert manifest["config_name"] == f"advice-v0001-{manifest['data_sha256'][:8]}"


def test_the_hash_of_the_data_can_be_checked_with_a_shell(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish(make_rows(48))
    shell = subprocess.run(
        "sha256sum data/* | sha256sum", shell=True, cwd=published.path, capture_output=True, text=True, check=True
    )
    assert shell.stdout.split()[0] == published.sha256


def test_the_same_rows_give_the_same_bytes(dataset: Any, make_rows: Rows) -> None:
    first, second = (dataset.publish(make_rows(48)) for _ in range(2))
    assert (first.version, second.version) == (1, 2)
    assert first.sha256 == second.sha256
    data = [
        {name: held for name, held in files_of(path).items() if name.startswith("data/")} for path in (first.path, second.path)
    ]
    assert data[0] == data[1]


def test_the_schema_is_the_same_in_every_file_of_every_version(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24, quality=None, api_request_id=None))
    dataset.publish(make_rows(24))
    schemas = [pq.read_schema(path) for path in dataset.versions.glob("v*/data/*.parquet")]
    assert len(schemas) == 4
    assert all(schema.equals(SCHEMA) for schema in schemas)


def test_another_column_or_another_scorer_makes_another_version_of_the_same_rows(
    dataset: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = make_rows(24)
    assert dataset.publish(same, fingerprint="same").version == 1
    assert dataset.publish(same, fingerprint="same").unchanged
    assert dataset.publish(same, fingerprint="same", scorers="turns=2").version == 2
    wider = SCHEMA.append(pa.field("raw_text", pa.string()))
    monkeypatch.setattr(published_rows, "SCHEMA", wider)
    monkeypatch.setattr(parquet, "SCHEMA", wider)
    third = dataset.publish(same, fingerprint="same", scorers="turns=2")
    assert (third.version, third.unchanged) == (3, False)
    assert "raw_text" in pq.read_schema(next(third.path.glob("data/*.parquet"))).names
    assert dataset.publish(same, fingerprint="same", scorers="turns=2").unchanged


def test_files_are_compressed_indexed_and_rolled_over(dataset: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 10)
    published = dataset.publish(make_rows(100), max_file_bytes=1)
    names = sorted(path.name for path in (published.path / "data").glob("train-*"))
    assert len(names) > 2
    assert names == [f"train-{n:05d}-of-{len(names):05d}.parquet" for n in range(len(names))]
    assert len(ids_of(published.path, "train")) == published.splits["train"]
    column = pq.read_metadata(published.path / "data" / names[0]).row_group(0).column(0)
    assert (column.compression, column.has_offset_index, column.has_column_index) == ("ZSTD", True, True)


def test_what_repeats_has_a_dictionary_and_what_does_not_has_none(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish(make_rows(100))
    group = pq.read_metadata(next(published.path.glob("data/train-*"))).row_group(0)
    columns = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
    assert set(parquet.REPEATED) - columns.keys() == {"status", "reasons.list.element"}  # of what was not accepted
    assert all(column.has_dictionary_page == (name in parquet.REPEATED) for name, column in columns.items())


def test_only_a_batch_of_rows_for_each_split_is_held_in_memory(
    dataset: Any, make_row: Callable[..., PublishedRow], make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(str):
        """Text that can be seen to go."""

    alive: WeakSet[Watched] = WeakSet()
    most = 0

    def rows() -> Iterator[PublishedRow]:
        nonlocal most
        for number in range(1000):
            text = Watched(number)
            alive.add(text)
            most = max(most, len(alive))
            yield make_row(number, api_request_id=text)

    monkeypatch.setattr(parquet, "GROUP_ROWS", 100)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 20)
    published = dataset.publish(make_rows(1000), accepted=rows)
    assert published.rows == 1000
    assert most <= 2 * 20 + 2
    train = pq.read_metadata(next(published.path.glob("data/train-*")))
    assert {train.row_group(number).num_rows for number in range(train.num_row_groups - 1)} == {100}


def test_unchanged_content_publishes_nothing(dataset: Any, make_rows: Rows) -> None:
    first = dataset.publish(make_rows(24), fingerprint="same")
    before = files_of(dataset.versions)

    def unread() -> Iterator[PublishedRow]:
        raise AssertionError("rows are not read again")

    again = dataset.publish((), accepted=unread, fingerprint="same")
    assert again.unchanged
    assert (again.version, again.path, again.rows, again.splits, again.sha256) == (
        (first.version, first.path, first.rows, first.splits, first.sha256)
    )
    assert files_of(dataset.versions) == before


@pytest.mark.parametrize("changes", [{"seed": 8}, {"group_by": ("topic",)}, {"fractions": {"train": 0.5, "validation": 0.5}}])
def test_another_way_to_split_is_another_version(dataset: Any, make_rows: Rows, changes: dict[str, Any]) -> None:
    dataset.publish(make_rows(24), fingerprint="same")
    assert dataset.publish(make_rows(24), fingerprint="same", **changes).version == 2


def test_what_was_not_accepted_lies_beside_the_data(dataset: Any, make_rows: Rows) -> None:
    revise = [
        *make_rows(2, status=Status.NEEDS_REVISION, reasons=("too short",)),
        *make_rows(1, status=Status.DROPPED, conversation=None, raw_text="{", reasons=("parse error",)),
    ]
    published = dataset.publish(make_rows(24), revise)
    table = pq.read_table(dataset.layout.data / "rejected/datasets/advice/v0001.parquet")
    assert table.schema.equals(REVISE_SCHEMA)
    assert table["status"].to_pylist() == ["needs_revision", "needs_revision", "dropped"]
    assert table["raw_text"].to_pylist() == [None, None, "{"]
    manifest = json.loads((published.path / "manifest.json").read_text())
    assert (manifest["needs_revision"], manifest["dropped"], manifest["rows"]) == (2, 1, 24)


def test_without_such_rows_there_is_no_such_file(dataset: Any, make_rows: Rows) -> None:
    assert not (dataset.publish(make_rows(24)).path / "revise").exists()


def test_without_an_accepted_row_nothing_is_published(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish([], make_rows(3, status=Status.DROPPED))
    assert (published.version, published.path, published.rows) == (None, None, 0)
    assert published.notes == ("nothing is published: no conversation is accepted",)
    assert dataset.visible == []
    assert dataset.staged == []
    assert dataset.reserve() == 1, "no number was used up"


def test_a_row_that_breaks_a_rule_stops_the_version(dataset: Any, make_rows: Rows, make_row: Callable[..., PublishedRow]) -> None:
    with pytest.raises(GenerationValidationError, match=f"conversation {24:024x} cannot be published: it has no conversation"):
        dataset.publish([*make_rows(24), make_row(24, conversation=None)])
    assert dataset.visible == []
    assert dataset.staged == []


def test_one_group_trains_and_validation_is_left_out_with_a_note(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish(make_rows(5, persona="A", topic="B"))
    assert published.splits == {"train": 5}
    assert [path.name for path in (published.path / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    assert "split 'validation' is left out" in published.notes[-1]


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(dataset: Any, make_rows: Rows, share: float) -> None:
    """Arrow would end the whole process (SIGABRT), and leave the staging folder to the next publisher."""
    rows = make_rows(2_500)
    whole = dataset.publish(rows, fingerprint="first")
    largest = max(file.stat().st_size for file in (whole.path / "data").iterdir())
    with files_of_at_most(int(share * largest)), pytest.raises(OSError, match="File too large"):
        dataset.publish(rows, fingerprint="second")
    assert (dataset.visible, dataset.staged, dataset.latest) == (["latest", "v0001"], [], "v0001")
    assert dataset.publish(rows, fingerprint="second").sha256 == whole.sha256


def test_a_disk_that_is_full_only_for_what_was_not_accepted_is_an_error_too(dataset: Any, make_rows: Rows) -> None:
    with files_of_at_most(60_000), pytest.raises(OSError, match="File too large"):
        dataset.publish(make_rows(3), make_rows(8_000, status=Status.DROPPED))
    assert (dataset.visible, dataset.staged) == ([], [])


def test_two_groups_always_make_two_splits(dataset: Any, make_rows: Rows) -> None:
    for seed in range(12):
        published = dataset.publish([*make_rows(4, persona="A", topic="T"), *make_rows(3, persona="B", topic="T")], seed=seed)
        assert sorted(published.splits.values()) == [3, 4]


def test_a_row_of_a_group_that_nothing_was_planned_for_is_an_error(dataset: Any, make_rows: Rows) -> None:
    with pytest.raises(
        LedgerError, match=r"the group 'Persona 1 \| Topic 1' was not there when the splits were planned: publish once"
    ):
        dataset.publish(make_rows(1), accepted=lambda: iter(make_rows(2)))
    assert dataset.visible == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fractions": {"train": 0.5}}, "add up to 0.5"),
        ({"group_by": ()}, "group_by is empty"),
        ({"group_by": ("persone",)}, "did you mean 'persona'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    dataset: Any, make_rows: Rows, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dataset.publish(make_rows(3), **changes)
    assert not dataset.folder.exists()


def test_a_folder_that_is_no_slug_is_refused(dataset: Any, make_rows: Rows) -> None:
    dataset.layout = replace(dataset.layout, name="two words")
    with pytest.raises(ConfigError, match="'two words' cannot name a dataset"):
        dataset.publish(make_rows(3))


def test_every_load_is_right_with_one_cache_two_datasets_and_two_versions_each(
    dataset: Any, make_rows: Rows, load: Callable[..., Any]
) -> None:
    other = type(dataset)(replace(dataset.layout, name="care"))
    for rows, marked in ((24, "first"), (36, "second")):
        for held in (dataset, other):
            name = f"{held.layout.name} {marked}"
            path = held.publish(make_rows(rows, emotion=name)).path
            for place in (path, held.folder / "latest"):
                loaded = load(str(place))
                assert sum(split.num_rows for split in loaded.values()) == rows
                assert {emotion for split in loaded.values() for emotion in split["emotion"]} == {name}
    assert set(load(str(dataset.versions / "v0001"), split="train")["emotion"]) == {"advice first"}


def test_what_is_loaded_trains_as_it_is(dataset: Any, make_rows: Rows, load: Callable[..., Any]) -> None:
    published = dataset.publish(make_rows(48), make_rows(3, status=Status.DROPPED))
    loaded = load(str(dataset.folder / "latest"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == published.splits
    for row in loaded["train"]:
        roles = [turn["role"] for turn in row["messages"]]
        assert roles[0] == "system"
        assert roles[1] == "user"
        assert roles[-1] == "assistant"
        assert all(before != after for before, after in pairwise(roles))
        assert all(set(turn) == {"role", "content"} and turn["content"] for turn in row["messages"])
