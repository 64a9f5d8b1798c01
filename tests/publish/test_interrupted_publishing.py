"""Killed, or two at once: there is never half a version, and the next publisher is not disturbed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from convoforge.models import Status
from convoforge.publish import PublishedRow, versions, versions_in

Rows = Callable[..., list[PublishedRow]]


def kill_at(data: Path, moment: str) -> None:
    script = Path(__file__).with_name("interrupted_publisher.py")
    with subprocess.Popen([sys.executable, script, data, moment], stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout is not None
        try:
            assert publisher.stdout.readline() == "here\n"
        finally:
            publisher.kill()


@pytest.mark.server
@pytest.mark.parametrize("moment", ["while rows are written", "before the version is shown", "while the version is flushed"])
def test_a_publisher_killed_before_the_version_is_visible_leaves_none(
    dataset: Any, make_rows: Rows, load: Callable[..., Any], moment: str
) -> None:
    kill_at(dataset.layout.data, moment)
    assert dataset.visible == []
    assert len(dataset.staged) == 1
    published = dataset.publish(make_rows(24), fingerprint="same")
    assert not published.unchanged
    assert dataset.visible == ["latest", "v0001"]
    assert dataset.staged == []
    assert load(str(dataset.folder / "latest"), split="train").num_rows == published.splits["train"]


@pytest.mark.server
def test_a_publisher_killed_before_latest_moved_leaves_a_whole_version(dataset: Any, make_rows: Rows) -> None:
    kill_at(dataset.layout.data, "before latest has moved")
    assert dataset.visible == ["v0001"]
    again = dataset.publish(make_rows(24), fingerprint="same")
    assert (again.unchanged, again.version) == (True, 1)
    assert dataset.latest == "v0001"


def test_every_file_is_on_the_disk_before_the_version_is_visible(
    dataset: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[Path, bool]] = []
    sync = versions._sync

    def watched(path: Path) -> None:
        sync(path)
        flushed.append((path, (dataset.versions / "v0001").exists()))

    monkeypatch.setattr(versions, "_sync", watched)
    version = dataset.publish(make_rows(24), make_rows(1, status=Status.DROPPED)).path
    staged = {
        path.relative_to(dataset.versions).parts[1:] for path, visible in flushed if not visible and path.parts[-1] != "advice"
    }
    files = {("version", *path.relative_to(version).parts) for path in version.rglob("*")}
    assert staged == {("rejected.parquet",), ("version",), *files}
    assert (dataset.layout.data / "rejected/datasets/advice", False) in flushed
    assert [path for path, visible in flushed if visible] == [dataset.versions, dataset.folder], "the rename, then latest"


def test_a_publisher_at_work_is_not_swept_away_by_another(dataset: Any, make_rows: Rows) -> None:
    def rows() -> Iterator[PublishedRow]:
        yield from make_rows(12)
        dataset.publish(make_rows(12))
        yield from make_rows(12)

    assert dataset.publish(make_rows(24), accepted=rows).version == 2
    assert [version.manifest.rows for version in versions_in(dataset.layout).good()] == [12, 24]
    assert dataset.latest == "v0002"


def test_many_publishers_at_once_make_a_version_each(dataset: Any, make_rows: Rows) -> None:
    with ThreadPoolExecutor(8) as pool:
        published = [*pool.map(lambda rows: dataset.publish(make_rows(rows)), range(20, 28))]
    assert sorted(each.version for each in published) == [*range(1, 9)]
    assert len(versions_in(dataset.layout).good()) == 8
    assert dataset.staged == []


def test_many_publishers_of_the_same_content_make_one_version(dataset: Any, make_rows: Rows) -> None:
    with ThreadPoolExecutor(8) as pool:
        published = [*pool.map(lambda _: dataset.publish(make_rows(24), fingerprint="same"), range(8))]
    assert [each.version for each in published] == [1] * 8
    assert [each.unchanged for each in published].count(False) == 1
    assert dataset.visible == ["latest", "v0001"]
    assert dataset.staged == []
