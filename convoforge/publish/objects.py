"""The versions of a dataset in an object store: staged in a local folder, uploaded file by file, the manifest last; then `LATEST`.

What is not a good version yet has no manifest, so half an upload is none, and its number is not used again. `LATEST` is a small
file with the name of the latest version. No lock exists there. Numbers come from the ledger, so two publishers never write into
one version; should they have two ledgers, the card, which goes first and only where there is none, tells the slower one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from convoforge.errors import ConfigError, ConvoforgeError, LedgerError
from convoforge.publish import card
from convoforge.publish import manifest as manifests
from convoforge.publish.versions import Version, Versions, number_of, trusted
from convoforge.settings import ObjectFolder

LATEST = "LATEST"


class ObjectVersions(Versions):
    """Versions in an object store. Every method raises ConvoforgeError, in one line, where the store does not do what it is asked."""

    def __init__(self, folder: ObjectFolder) -> None:
        import fsspec  # type: ignore[import-untyped]

        self._folder = folder
        self._manifests: dict[str, bytes] = {}  # a version is never rewritten
        try:
            # listings are never kept: another publisher's version would not be seen. Nor is the client: its credentials may have changed.
            self._store, self._root = fsspec.url_to_fs(folder.url, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the data folder {folder} cannot be opened: {_line(error)}. For s3:// it takes: pip install 'convoforge[s3]'"
            ) from None

    def lock(self) -> nullcontext[None]:
        return nullcontext()

    @contextmanager
    def staging(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="convoforge-", ignore_cleanup_errors=True) as stage:
            yield Path(stage)

    def good(self) -> list[Version]:
        sizes = self.sizes()
        names = [f"v{number:04d}" for number in sorted(_numbers(sizes)) if f"v{number:04d}/{manifests.NAME}" in sizes]
        unread = [name for name in names if name not in self._manifests]
        with self._told("read"):  # all at once: one after the other, a hundred versions take seconds
            texts = self._store.cat_ranges(
                [f"{self._root}/{name}/{manifests.NAME}" for name in unread], None, None, on_error="raise"
            )
        self._manifests.update(zip(unread, texts, strict=True))
        found = (trusted(self._folder / name, self._manifests[name], lambda file: sizes.get(f"{name}/{file}")) for name in names)  # noqa: B023
        return [version for version in found if version]

    def reveal(self, stage: Path, number: int) -> ObjectFolder:
        version = self._folder / f"v{number:04d}"
        paths = (path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file())
        with self._told("written"):
            for path in sorted(paths, key=lambda path: (path == manifests.NAME, path != card.NAME, path)):
                mode = "create" if path == card.NAME else "overwrite"
                try:
                    self._store.put_file(str(stage / path), f"{self._root}/{version.name}/{path}", mode=mode)
                except FileExistsError:
                    raise LedgerError(
                        f"{version} is being written by a publisher with another ledger: give both the same CONVOFORGE_DATABASE_URL, "
                        "and publish again"
                    ) from None
        return version

    def sizes(self) -> dict[str, int]:
        """Every file of the dataset, as a path below its folder, and its bytes. To ask is to see whether the store answers."""
        with self._told("read"):
            found = self._store.find(self._root, detail=True)
        return {path.removeprefix(f"{self._root}/"): entry["size"] for path, entry in found.items()}

    def _taken(self) -> int:
        return max(_numbers(self.sizes()), default=0)

    def _latest(self) -> str | None:
        with self._told("read"):
            try:
                text: bytes = self._store.cat_file(f"{self._root}/{LATEST}")
            except FileNotFoundError:
                return None
        return text.decode(errors="replace").strip()

    def _note_latest(self, name: str) -> None:
        with self._told("written"):
            self._store.pipe_file(f"{self._root}/{LATEST}", f"{name}\n".encode())

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except ConvoforgeError:
            raise
        except Exception as error:  # noqa: BLE001 - s3fs raises OSErrors, botocore's own errors and aiohttp's; all of them mean the store
            raise ConvoforgeError(f"the data folder {self._folder} cannot be {what}: {_line(error)}. {_advice(error)}") from None


def _numbers(names: Mapping[str, int]) -> set[int]:
    numbers = (number_of(name.partition("/")[0]) for name in names)
    return {number for number in numbers if number is not None}


def _line(error: Exception) -> str:
    """What a library says, as a line without credentials: in addresses they stand before an @ or after a question mark."""
    said = re.sub(r"//[^/\s@]*@", "//", " ".join(str(error).split()))
    said = re.sub(r"[?]\S*", "", said).rstrip(".: ")
    return f"{type(error).__name__}: {said}"


def _advice(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "Make the bucket, or change CONVOFORGE_DATA_DIR"
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return "Are the credentials right (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), and may they list, read and write?"
    return "Is the store reachable from here, and are AWS_ENDPOINT_URL and AWS_DEFAULT_REGION right?"
