"""The versions of a dataset, `v0001`, `v0002` …, and which of them is the latest: in a local folder here, in an object store in `objects`.

In a local folder a version appears by one rename and is never touched again. Whoever changes what is visible holds the folder's
lock; whoever stages holds a lock inside the staging folder, which the operating system lets go of when its process dies, however
it dies.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from convoforge.errors import LedgerError
from convoforge.publish import manifest as manifests
from convoforge.publish.manifest import Manifest
from convoforge.settings import Folder

_LATEST = "latest"
_OWNER = ".owner"
_NAME = re.compile(r"v(\d{4}|[1-9]\d{4,})")


@dataclass(frozen=True, slots=True)
class Version:
    """A good version: its manifest can be read, and every file it names is there in its size."""

    path: Folder
    manifest: Manifest


class Versions(ABC):
    """The versions of one dataset, wherever they lie: the names below are all that a place must know how to do."""

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Holds other publishers off, where the place knows how to. Not reentrant."""

    @abstractmethod
    def staging(self) -> AbstractContextManager[Path]:
        """A local folder to write a version in, gone afterwards unless it was revealed."""

    @abstractmethod
    def good(self) -> list[Version]:
        """The versions that can be trusted, oldest first."""

    @abstractmethod
    def reveal(self, stage: Path, number: int) -> Folder:
        """Makes the staged folder version `number`, at once and for good, and returns where it is. The caller holds the lock."""

    @abstractmethod
    def _taken(self) -> int:
        """The highest number that a version has, good or not; 0 without any."""

    @abstractmethod
    def _latest(self) -> str | None:
        """What is noted down as the latest version's name, right or not."""

    @abstractmethod
    def _note_latest(self, name: str) -> None:
        """Notes it down, in one step."""

    def next_number(self, reserve: Callable[[], int]) -> int:
        """A number above every version there is, good or not. `reserve` is asked again while a folder outlived its ledger.

        Raises LedgerError if `reserve` gives a number that is not above the one before.
        """
        taken = self._taken()
        before = 0
        while (number := reserve()) <= taken:
            if number <= before:
                raise LedgerError(f"version number {number} was reserved after {before}: numbers must grow.")
            before = number
        return number

    def follow(self, number: int, *, allow_fewer: bool) -> str | None:
        """Points `latest` at the newest good version, unless that has fewer rows; returns a note if it has. The caller holds the lock.

        From where `latest` is (or from the oldest version, if it is nowhere) it moves through the newer ones, one by one, to each
        that has no fewer rows or was published with `allow_fewer`; `allow_fewer` here is for version `number`.

        What was noted is read once more: where no lock exists, another publisher may have noted an older version just before.
        Each has shown its version before it looks, so whoever writes last has seen them all.
        """
        while True:
            noted, versions = self._latest(), self.good()
            at = next((version for version in versions if version.path.name == noted), versions[0])
            for version in versions[versions.index(at) + 1 :]:
                allowed = version.manifest.allow_fewer or (allow_fewer and version.manifest.version == number)
                if allowed or version.manifest.rows >= at.manifest.rows:
                    at = version
            if at.path.name == noted:
                break
            self._note_latest(at.path.name)
        if at is versions[-1]:
            return None
        newest = versions[-1]
        return (
            f"latest stays at {at.path.name} ({at.manifest.rows} rows), because {newest.path.name} has only "
            f"{newest.manifest.rows}: publish with allow_fewer to move it"
        )


def number_of(name: str) -> int | None:
    """The number of the version that a folder of this name is, or None."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def trusted(path: Folder, manifest: bytes, size: Callable[[str], int | None]) -> Version | None:
    """The version at `path`, if its manifest can be read and `size` (bytes) of every file it names is right."""
    try:
        told = Manifest.model_validate_json(manifest)
    except ValueError:
        return None
    whole = all(size(file.path) == file.bytes for file in told.files)
    return Version(path, told) if whole and told.version == number_of(path.name) else None


class LocalVersions(Versions):
    """Versions in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def staging(self) -> Iterator[Path]:
        with self.lock():
            _sweep(self._folder)
            stage = self._folder / f".staging-{secrets.token_hex(8)}"
            stage.mkdir()
            owner = (stage / _OWNER).open("w")
            fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            yield stage
        finally:
            owner.close()
            shutil.rmtree(stage, ignore_errors=True)

    def good(self) -> list[Version]:
        found = []
        for _, path in self._numbered():
            try:
                version = trusted(path, (path / manifests.NAME).read_bytes(), lambda file: (path / file).stat().st_size)  # noqa: B023
            except OSError:
                continue
            if version:
                found.append(version)
        return found

    def reveal(self, stage: Path, number: int) -> Path:
        (stage / _OWNER).unlink()
        for path in (*stage.rglob("*"), stage):
            _sync(path)
        path = stage.rename(stage.parent / f"v{number:04d}")
        _sync(stage.parent)
        return path

    def _taken(self) -> int:
        return max((number for number, _ in self._numbered()), default=0)

    def _latest(self) -> str | None:
        link = self._folder / _LATEST
        return link.readlink().name if link.is_symlink() else None

    def _note_latest(self, name: str) -> None:
        fresh = self._folder / f".{_LATEST}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.replace(self._folder / _LATEST)
        _sync(self._folder)

    def _numbered(self) -> list[tuple[int, Path]]:
        return sorted((number, path) for path in self._folder.iterdir() if (number := number_of(path.name)) is not None)


def _sweep(folder: Path) -> None:
    for stage in folder.glob(".staging-*"):
        if not _alive(stage):
            shutil.rmtree(stage, ignore_errors=True)


def _alive(stage: Path) -> bool:
    """Whether a process still holds the lock in `stage`. It takes it, and gives it up, under the folder's lock."""
    try:
        with (stage / _OWNER).open("r+") as owner:  # NFS locks nothing that is only read
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
