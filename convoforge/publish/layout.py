"""Where a dataset lies in a data folder, so that what a reader's glob finds there is what was accepted, once.

data/
├── datasets/NAME/latest → ../../versions/datasets/NAME/v0002
├── versions/datasets/NAME/v0002/
│   ├── README.md                            the card: how to load it, what is in it, where it is from
│   ├── report.html                          the same to look at: charts, examples, twenty conversations
│   ├── croissant.json                       its columns, for loaders and search engines
│   ├── manifest.json                        the same for programs, with the hash of every file
│   ├── groups.json                          which split each group of conversations is in, for good
│   └── data/train-00000-of-00001.parquet    what trains
└── rejected/datasets/NAME/v0002.parquet     what was not accepted, and why

Below `datasets/NAME` there is nothing but `latest`: with versions beside it, `NAME/*/data/*.parquet` counted the newest one twice.
Below a version there is nothing that was not accepted: duckdb and pyarrow mixed it into `latest/**/*.parquet` without a word.
Simulated datasets have `simulated` in the place of `datasets`. In an object store, which has no links, `LATEST` is a file in the
place of `latest`; it holds the version's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convoforge.settings import Folder, ObjectFolder

Kind = Literal["datasets", "simulated"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one dataset, as paths relative to the data folder `data`."""

    data: Folder
    kind: Kind
    name: str

    @property
    def folder(self) -> str:
        """Where `latest` is. Releases before manifest format 2 kept the versions in here as well."""
        return f"{self.kind}/{self.name}"

    @property
    def versions(self) -> str:
        """Where `v0001`, `v0002` … are."""
        return f"versions/{self.folder}"

    def rejected(self, number: int) -> str:
        """The file beside version `number`."""
        return f"rejected/{self.folder}/{version_name(number)}.parquet"

    def shown(self, number: int) -> str:
        """Where version `number` lies, as a person would write it: an address, or a path that begins with the data folder."""
        base = self.data.url if isinstance(self.data, ObjectFolder) else self.data.name
        return f"{base}/{self.versions}/{version_name(number)}"


def version_name(number: int) -> str:
    """The name of a version's folder."""
    return f"v{number:04d}"
