"""A publisher that stops at a given moment, says so, and waits to be killed: `interrupted_publisher.py FOLDER MOMENT`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conftest import Dataset, make_rows

from convoforge.publish import Layout, PublishedRow, parquet, versions
from convoforge.publish.objects import ObjectVersions
from convoforge.publish.versions import LocalVersions
from convoforge.settings import ObjectFolder


def wait_to_be_killed(*_: Any, **__: Any) -> Any:
    print("here", flush=True)
    signal.pause()


def rows_without_end() -> Iterator[PublishedRow]:
    yield from make_rows(40)
    wait_to_be_killed()


def stop_at_upload_of(ending: str) -> None:
    import s3fs

    put_file = s3fs.S3FileSystem._put_file

    async def watched(store: Any, here: str, there: str, **options: Any) -> None:
        if there.endswith(ending):
            wait_to_be_killed()
        await put_file(store, here, there, **options)

    s3fs.S3FileSystem._put_file = watched


place, moment = sys.argv[1:]
layout = Layout(ObjectFolder(place) if "://" in place else Path(place), "datasets", "advice")
parquet.GROUP_ROWS = 10
rows: Any = make_rows(24)
match moment:
    case "while rows are written":
        rows = rows_without_end
    case "before the version is shown":
        LocalVersions.make_visible = wait_to_be_killed
    case "while the version is flushed":
        versions._sync = wait_to_be_killed
    case "before latest has moved":
        LocalVersions.move_latest = wait_to_be_killed
    case "while its data is uploaded":
        stop_at_upload_of("validation-00000-of-00001.parquet")
    case "before its manifest is uploaded":
        stop_at_upload_of("manifest.json")
    case "before LATEST is written":
        ObjectVersions._note_latest = wait_to_be_killed
Dataset(layout).publish(make_rows(24), accepted=rows if callable(rows) else rows.__iter__, fingerprint="same")
