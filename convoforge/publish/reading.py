"""A published version, read again, in a local folder or in an object store: a batch of rows at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convoforge.errors import ConfigError, ConvoforgeError, nearest, shown
from convoforge.publish import versions_in
from convoforge.publish.layout import Kind, Layout
from convoforge.publish.manifest import Manifest
from convoforge.publish.versions import Version, Versions
from convoforge.settings import Folder

BATCH_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version that is there, and how it is read."""

    layout: Layout
    version: Version
    versions: Versions

    @property
    def manifest(self) -> Manifest:
        return self.version.manifest

    def read_batches(self, split: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The rows of a split, as Arrow record batches of at most 1,000, in their order. Raises ConvoforgeError for a damaged file."""
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        name = re.compile(rf"data/{re.escape(split)}-\d+-of-\d+\.parquet")
        for file in self.manifest.files:
            if name.fullmatch(file.path):
                with self.versions.open(self.version, file.path) as source:
                    try:
                        yield from pq.ParquetFile(source).iter_batches(
                            BATCH_ROWS, columns=columns and [*columns], use_threads=False
                        )
                    except (OSError, pa.ArrowException) as error:
                        raise ConvoforgeError(f"{self.version.path / file.path} cannot be read: {error}") from error

    def read_schema(self) -> Any:
        """The Arrow schema of the rows. Raises as `read_batches` does."""
        return next(self.read_batches(next(iter(self.manifest.splits)))).schema


def find_published(data: Folder, name: str, *, simulated: bool, number: int | None = None) -> PublishedVersion:
    """Version `number` of a dataset, or the one that `latest` leads to. Where only simulated data has the name, that is meant.

    Raises ConfigError where it is not there, ConvoforgeError where an object store fails.
    """
    kinds: tuple[Kind, ...] = ("simulated",) if simulated else ("datasets", "simulated")
    numbers: list[int] = []
    for kind in kinds if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", name) else ():
        layout = Layout(data, kind, name)
        versions = versions_in(layout)
        good = versions.good()
        numbers = [version.manifest.version for version in good]
        found = versions.current() if number is None else next((one for one in good if one.manifest.version == number), None)
        if found or good:
            break
    else:
        known = {path.name for kind in kinds for path in _list_folders(data, kind)}
        raise ConfigError(
            f"no version of {shown(name)} is published in {data}{nearest(name, known)} `convoforge build` makes one."
        )
    if found is None:
        what = f"has no version {number}" if number else "has no latest version: name one"
        raise ConfigError(f"'{name}' {what}; there are: {', '.join(map(str, numbers))}")
    return PublishedVersion(layout, found, versions)


def _list_folders(data: Folder, kind: Kind) -> list[Path]:
    """The datasets of a kind in a local data folder; a store is not listed for the sake of a misspelt name."""
    folder = data / "versions" / kind
    return [*folder.iterdir()] if isinstance(folder, Path) and folder.is_dir() else []
