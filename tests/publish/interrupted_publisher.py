"""A publisher that stops at a given moment, says so, and waits to be killed: `interrupted_publisher.py FOLDER MOMENT`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conftest import Dataset, make_rows

from convoforge.publish import PublishedRow, parquet, versions


def wait_to_be_killed(*_: Any, **__: Any) -> Any:
    print("here", flush=True)
    signal.pause()


def rows_without_end() -> Iterator[PublishedRow]:
    yield from make_rows(40)
    wait_to_be_killed()


folder, moment = Path(sys.argv[1]), sys.argv[2]
parquet.BATCH_ROWS = 10
match moment:
    case "while rows are written":
        rows: Any = rows_without_end
    case "before the version is shown":
        rows, versions.reveal = make_rows(24), wait_to_be_killed
    case "while the version is flushed":
        rows, versions._sync = make_rows(24), wait_to_be_killed
    case "before latest has moved":
        rows, versions.follow = make_rows(24), wait_to_be_killed
Dataset(folder).publish((), accepted=rows if callable(rows) else rows.__iter__, fingerprint="same")
