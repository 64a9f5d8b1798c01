"""The versions of a dataset in an object store: staged in a local folder, uploaded file by file, the manifest last; then `LATEST`.

What is not a good version yet has no manifest, so half an upload is none, and its number is not used again. `LATEST` is a small
file with the name of the latest version. No lock exists there. Numbers come from the ledger, so two publishers never write into
one version; should they have two ledgers, the card, which goes first and only where there is none, tells the slower one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from convoforge.errors import ConfigError, ConvoforgeError, LedgerError
from convoforge.publish import card
from convoforge.publish import manifest as manifests
from convoforge.publish.layout import Layout, version_name
from convoforge.publish.versions import Stage, Version, Versions, number_of, trusted
from convoforge.settings import Folder, ObjectFolder

LATEST = "LATEST"


class ObjectVersions(Versions):
    """Versions in an object store. Every method raises ConvoforgeError, in one line, where the store does not do what it is asked."""

    def __init__(self, layout: Layout, data: ObjectFolder) -> None:
        import fsspec  # type: ignore[import-untyped]

        super().__init__(layout)
        self._data = data
        self._folder = data / layout.folder
        self._manifests: dict[str, bytes] = {}  # a version is never rewritten
        try:
            # listings are never kept: another publisher's version would not be seen. Nor is the client: its credentials may have changed.
            self._store, self._root = fsspec.url_to_fs(data.url, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the data folder {self._folder} cannot be opened: {_line(error)}. For s3:// it takes: pip install 'convoforge[s3]'"
            ) from None

    def lock(self) -> nullcontext[None]:
        return nullcontext()

    @contextmanager
    def staging(self) -> Iterator[Stage]:
        with tempfile.TemporaryDirectory(prefix="convoforge-", ignore_cleanup_errors=True) as folder:
            (version := Path(folder) / "version").mkdir()
            yield Stage(version, Path(folder) / "rejected.parquet")

    def good(self) -> list[Version]:
        sizes = self.sizes()
        folders = {**_numbered(sizes, self._layout.folder), **_numbered(sizes, self._layout.versions)}
        paths = [path for _, path in sorted(folders.items()) if f"{path}/{manifests.NAME}" in sizes]
        unread = [path for path in paths if path not in self._manifests]
        with self._map_errors("read"):  # all at once: one after the other, a hundred versions take seconds
            texts = self._store.cat_ranges(
                [f"{self._root}/{path}/{manifests.NAME}" for path in unread], None, None, on_error="raise"
            )
        self._manifests.update(zip(unread, texts, strict=True))
        found = (trusted(self._data / path, self._manifests[path], lambda file: sizes.get(f"{path}/{file}")) for path in paths)  # noqa: B023 - called before the next turn of the loop
        return [version for version in found if version]

    @contextmanager
    def _open(self, version: Folder, name: str) -> Iterator[IO[bytes]]:
        with self._map_errors("read"), self._store.open(f"{version}/{name}") as file:
            yield file

    def make_visible(self, stage: Stage, number: int) -> ObjectFolder:
        version = f"{self._layout.versions}/{version_name(number)}"
        here = {
            path: f"{version}/{path.relative_to(stage.version).as_posix()}" for path in stage.version.rglob("*") if path.is_file()
        }
        if stage.rejected.exists():
            here[stage.rejected] = self._layout.rejected(number)
        first, last = stage.version / card.NAME, stage.version / manifests.NAME
        with self._map_errors("written"):
            for path in sorted(here, key=lambda path: (path == last, path != first, here[path])):
                mode = "create" if path == first else "overwrite"
                try:
                    self._store.put_file(str(path), f"{self._root}/{here[path]}", mode=mode)
                except FileExistsError:
                    raise LedgerError(
                        f"{self._data}/{version} is being written by a publisher with another ledger: give both the same "
                        "CONVOFORGE_DATABASE_URL, and publish again"
                    ) from None
        return self._data / version

    def latest_path(self, version: Version) -> Folder:
        return version.path

    def sizes(self) -> dict[str, int]:
        """Every file of the versions, by its path below the data folder, and its bytes. To ask is to see whether the store answers."""
        return self._sizes(self._layout.folder) | self._sizes(self._layout.versions)

    def _sizes(self, folder: str) -> dict[str, int]:
        with self._map_errors("read"):
            found = self._store.find(f"{self._root}/{folder}", detail=True)
        return {path.removeprefix(f"{self._root}/"): entry["size"] for path, entry in found.items()}

    def _numbered(self, folder: str) -> dict[int, Folder]:
        return {number: self._data / path for number, path in _numbered(self._sizes(folder), folder).items()}

    def _latest(self) -> str | None:
        with self._map_errors("read"):
            try:
                text: bytes = self._store.cat_file(f"{self._root}/{self._layout.folder}/{LATEST}")
            except FileNotFoundError:
                return None
        return text.decode(errors="replace").strip()

    def _note_latest(self, version: Version) -> None:
        with self._map_errors("written"):
            self._store.pipe_file(f"{self._root}/{self._layout.folder}/{LATEST}", f"{version.path.name}\n".encode())

    @contextmanager
    def _map_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ConvoforgeError:
            raise
        except Exception as error:  # noqa: BLE001 - s3fs raises OSErrors, botocore's own errors and aiohttp's; all of them mean the store
            raise ConvoforgeError(f"the data folder {self._folder} cannot be {what}: {_line(error)}. {_advice(error)}") from None


def _numbered(files: Iterable[str], folder: str) -> dict[int, str]:
    """The folders of versions directly in `folder` that hold some of `files`, by their numbers."""
    names = {path.removeprefix(f"{folder}/").partition("/")[0] for path in files if path.startswith(f"{folder}/")}
    return {number: f"{folder}/{name}" for name in names if (number := number_of(name)) is not None}


def _line(error: Exception) -> str:
    """What a library says, as a line without credentials: in addresses they stand before an @ or after a question mark."""
    text = re.sub(r"//[^/\s@]*@", "//", " ".join(str(error).split()))
    text = re.sub(r"[?]\S*", "", text).rstrip(".: ")
    return f"{type(error).__name__}: {text}"


def _advice(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "Make the bucket, or change CONVOFORGE_DATA_DIR"
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return "Are the credentials right (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), and may they list, read and write?"
    return "Is the store reachable from here, and are AWS_ENDPOINT_URL and AWS_DEFAULT_REGION right?"
