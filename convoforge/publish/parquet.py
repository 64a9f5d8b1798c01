"""Rows into Parquet files, a batch at a time: what is in memory never depends on how many rows there are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from convoforge.errors import LedgerError
from convoforge.models import Provider
from convoforge.publish.rows import REVISE_SCHEMA, SCHEMA, PublishedRow, check, to_batch

GROUP_ROWS = 1_000
"""Rows of a row group: 2 to 5 MB."""

BATCH_ROWS = 200
"""Rows that wait as Python objects, some 7 kB each; as Arrow they take half of it, and one allocation."""

_PAGE_BYTES = 256 * 1024

REPEATED = (
    "messages.list.element.role",
    *("template", "template_version", "persona", "emotion", "topic", "tier", "split_group", "provider", "model", "run_id"),
    *(f"{column}.list.element.{name}" for column in ("parameters", "variation") for name in ("name", "value")),
    *("score", "score_turns", "score_length", "score_structure", "n_turns", "status", "reasons.list.element"),
    *(f"scorer_results.list.element.{name}" for name in ("name", "version", "points", "maximum", "verdict", "reason")),
)
"""Columns with a dictionary of their values. One for all the others, where hardly a value comes twice, made files a sixth larger."""

Rows = Callable[[], Iterator[PublishedRow]]
"""Gives the same rows in the same order each time it is called."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, by split, without the splits that hold nothing."""

    files: Mapping[str, Sequence[Path]]
    rows: Mapping[str, int]


def write_splits(
    folder: Path, rows: Rows, names: Sequence[str], plan: Mapping[str, str], provider: Provider, max_bytes: int
) -> Written:
    """Writes every row into the files of its split, in `folder`: `names` are the splits, `plan` says which of them a group goes to.

    Raises GenerationValidationError for a row that breaks a rule, LedgerError for one of a group that nothing was planned for.
    """
    folder.mkdir()
    with ExitStack() as stack:
        files = {name: stack.enter_context(RowFiles(folder, name, schema=SCHEMA, max_bytes=max_bytes)) for name in names}
        for row in rows():
            check(row, provider)
            if row.split_group not in plan:
                raise LedgerError(f"the group '{row.split_group}' was not there when the splits were planned: publish once more.")
            files[plan[row.split_group]].add(row)
        closed = {split: held.close() for split, held in files.items()}
    return Written(
        {split: paths for split, paths in closed.items() if paths}, {s: held.rows for s, held in files.items() if held.rows}
    )


def write_rejected(path: Path, rows: Rows) -> Path | None:
    """Writes what was not accepted to `path`, and returns it; nothing, and None, if there are no such rows."""
    with RowFiles(path.parent, path.stem, schema=REVISE_SCHEMA, max_bytes=sys.maxsize) as files:
        for row in rows():
            files.add(row)
        for part in files.close():
            return part.rename(path)
    return None


def read_groups(file: IO[bytes], ids: Collection[str]) -> dict[str, str]:
    """The groups of those of some conversations that a file holds."""
    wanted, found = pa.array(ids, pa.string()), dict[str, str]()
    for batch in pq.ParquetFile(file).iter_batches(columns=["conversation_id", "split_group"], use_threads=False):
        held = batch.filter(pc.is_in(batch["conversation_id"], wanted))
        found.update(zip(held["conversation_id"].to_pylist(), held["split_group"].to_pylist(), strict=True))
    return found


class RowFiles:
    """Rows of one schema on their way into files in `folder`, a new one whenever one has reached `max_bytes`. `rows` counts them.

    No file is opened before its first row: a file without rows makes `datasets` fail. The same rows give the same bytes. Raises OSError
    where a file cannot be written; left before `close`, it leaves files that nobody can read.
    """

    def __init__(self, folder: Path, stem: str, *, schema: Any, max_bytes: int) -> None:
        self._folder = folder
        self._stem = stem
        self._schema = schema
        self._max_bytes = max_bytes
        self.rows = 0
        self._waiting: list[PublishedRow] = []
        self._batches: list[Any] = []
        self._parts: list[Path] = []
        self._writer: Any = None
        self._sink: _Sink | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sink is not None:
            self._sink.close()

    def add(self, row: PublishedRow) -> None:
        """Takes one row; writes when a row group is full."""
        self.rows += 1
        self._waiting.append(row)
        if self.rows % GROUP_ROWS == 0:
            self._write()
        elif len(self._waiting) == BATCH_ROWS:
            self._batch()

    def close(self) -> list[Path]:
        """Writes what is left and returns the files, named `<stem>-00000-of-0000N.parquet`."""
        self._write()
        self._close_part()
        total = len(self._parts)
        return [
            part.rename(self._folder / f"{self._stem}-{index:05d}-of-{total:05d}.parquet")
            for index, part in enumerate(self._parts)
        ]

    def _batch(self) -> None:
        if self._waiting:
            self._batches.append(to_batch(self._waiting, self._schema))
            self._waiting.clear()

    def _write(self) -> None:
        self._batch()
        if not self._batches:
            return
        if self._sink is None:
            self._parts.append(self._folder / f"{self._stem}-{len(self._parts):05d}.part")
            self._sink = _Sink(self._parts[-1])
            self._writer = pq.ParquetWriter(
                self._sink,
                self._schema,
                compression="zstd",
                use_dictionary=REPEATED,
                data_page_size=_PAGE_BYTES,
                write_page_index=True,
                use_content_defined_chunking=True,
            )
        self._writer.write_table(pa.Table.from_batches(self._batches))
        self._sink.check()
        self._batches.clear()
        if self._sink.tell() >= self._max_bytes:
            self._close_part()

    def _close_part(self) -> None:
        if self._sink is not None:
            self._writer.close()
            self._sink.close()
            self._sink.check()
            self._sink = None


class _Sink:
    """A file for Arrow to write to, in which nothing fails: the first failure is kept for `check`, and what comes after it is let go.

    With content-defined chunks Arrow 26 ends the whole process where its sink fails ("Check failed: _s.ok()", SIGABRT): a full disk.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._written = 0
        self._failed: OSError | None = None

    @property
    def closed(self) -> bool:
        """Asked by Arrow."""
        return self._file.closed

    def tell(self) -> int:
        """Bytes written, or let go."""
        return self._written

    def write(self, data: bytes) -> int:
        """Takes all of it."""
        self._attempt(lambda: self._file.write(data))
        self._written += len(data)
        return len(data)

    def flush(self) -> None:
        self._attempt(self._file.flush)

    def close(self) -> None:
        self._attempt(self._file.close)

    def check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _attempt(self, work: Callable[[], object]) -> None:
        if self._failed is None:
            try:
                work()
            except OSError as error:
                self._failed = error
                with suppress(OSError):  # what is still in its buffer fails once more; the descriptor is closed all the same
                    self._file.close()
