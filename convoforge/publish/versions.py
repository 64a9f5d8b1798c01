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
from pathlib import Path, PurePosixPath
from typing import IO

from convoforge.errors import LedgerError
from convoforge.files import create_file, make_folder, make_private
from convoforge.publish import manifest as manifests
from convoforge.publish.layout import Layout, version_name
from convoforge.publish.manifest import Manifest
from convoforge.settings import Folder

MIN_OF_PLAN = 95
MAX_LOST = 2
"""Percent. `latest` follows to fewer rows where they are at least that much of the plan, and no more than that is lost: the few cells
that ran out of draws must not keep a trainer on old data for ever, and half a dataset must not reach it unseen."""

_LATEST = "latest"
_OWNER = ".owner"
_NAME = re.compile(r"v(\d{4}|[1-9]\d{4,})")


@dataclass(frozen=True, slots=True)
class Version:
    """A good version: its manifest can be read, and every file it names is there in its size."""

    path: Folder
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Latest:
    """The version that `latest` leads to; `note` says which is newer, and why it stays, where it does not lead to the newest."""

    version: Version
    note: str | None


@dataclass(frozen=True, slots=True)
class Stage:
    """A local folder to write a version in: its own files below `version`, what was not accepted in `rejected`."""

    version: Path
    rejected: Path


class Versions(ABC):
    """The versions of one dataset, wherever they lie: the abstract methods are all that a kind of store must know how to do.

    New ones are in the layout's `versions`; those of an older release may be in its `folder`, beside `latest`, and count as well.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Holds other publishers off, where the store can lock. Not reentrant."""

    @abstractmethod
    def staging(self) -> AbstractContextManager[Stage]:
        """Room for a version on this machine, gone afterwards unless it was revealed."""

    @abstractmethod
    def good(self) -> list[Version]:
        """The versions that can be trusted, oldest first, those that an older release left beside `latest` among them."""

    def open(self, version: Version, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file of a version, to be read: one that its manifest lists, or the manifest. Raises FileNotFoundError where it has none of
        that name, and where the name leads out of the version, whatever the manifest says."""
        path, listed = PurePosixPath(name), {manifests.NAME, *(file.path for file in version.manifest.files)}
        if name not in listed or path.is_absolute() or ".." in path.parts:
            raise FileNotFoundError(f"version {version.manifest.version} has no file {name!r}")
        return self._open(version.path, name)

    @abstractmethod
    def _open(self, version: Folder, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file in the folder of a version. Raises FileNotFoundError."""

    @abstractmethod
    def make_visible(self, stage: Stage, number: int) -> Folder:
        """Makes what is staged version `number`, at once and for good, and returns where it is. The caller holds the lock."""

    @abstractmethod
    def latest_path(self, version: Version) -> Folder:
        """What to load for `latest`, where it leads to this version."""

    @abstractmethod
    def _numbered(self, folder: str) -> dict[int, Folder]:
        """The versions in a folder of the data folder, good or not, by their numbers."""

    @abstractmethod
    def _latest(self) -> str | None:
        """What is noted down as the latest version's name, right or not; None where it leads nowhere."""

    @abstractmethod
    def _note_latest(self, version: Version) -> None:
        """Notes it down, in one step."""

    def note_mixed(self) -> str | None:
        """The note for a person where versions of an older release lie beside `latest`, where a reader's glob meets them."""
        if not (found := self._numbered(self._layout.folder)):
            return None
        return (
            f"{len(found)} versions of an earlier release lie beside latest in {self._layout.data / self._layout.folder}, where globs read "
            f"them as well: move them to {self._layout.data / self._layout.versions}"
        )

    def next_number(self, reserve: Callable[[], int]) -> int:
        """A number above every version there is, good or not. `reserve` is asked again while a folder outlived its ledger.

        Raises LedgerError if `reserve` gives a number that is not above the one before.
        """
        taken = max(self._all(), default=0)
        before = 0
        while (number := reserve()) <= taken:
            if number <= before:
                raise LedgerError(f"version number {number} was reserved after {before}: numbers must grow.")
            before = number
        return number

    def current(self) -> Version | None:
        """The good version that `latest` leads to, if it leads to one."""
        noted = self._latest()
        return next((version for version in self.good() if version.path.name == noted), None)

    def move_latest(self, number: int, *, allow_fewer: bool, back: bool = False) -> Latest:
        """Points `latest` at the newest good version, unless that has too few rows. The caller holds the lock.

        From where `latest` is (or from the oldest version, if it is nowhere) it moves through the newer ones, one by one, to each
        that has enough rows or was published with `allow_fewer`; `allow_fewer` here is for version `number`. `back`: that is an older
        one, whose rows are wanted again, and the only one to move to.

        What was noted is read once more: where no lock exists, another publisher may have noted an older version just before.
        Each has shown its version before it looks, so whoever writes last has seen them all.
        """
        while True:
            noted, versions = self._latest(), self.good()
            at = next((version for version in versions if version.path.name == noted), versions[0])
            wanted = next(version for version in versions if version.manifest.version == number) if back else versions[-1]
            for version in [wanted] if back else versions[versions.index(at) + 1 :]:
                allowed = version.manifest.allow_fewer or (allow_fewer and version.manifest.version == number)
                if allowed or enough(version.manifest, at.manifest):
                    at = version
            if at.path.name == noted:
                return Latest(at, None if at is wanted else _stays(at, wanted))
            self._note_latest(at)

    def _all(self) -> dict[int, Folder]:
        return self._numbered(self._layout.folder) | self._numbered(self._layout.versions)


def enough(newer: Manifest, older: Manifest) -> bool:
    """Whether `newer` has no fewer rows than `older`, or so few less that `latest` follows all the same."""
    planned = newer.lineage.counts.get("planned", 0)
    whole = planned > 0 and 100 * newer.rows >= MIN_OF_PLAN * planned
    return newer.rows >= older.rows or (whole and 100 * newer.rows >= (100 - MAX_LOST) * older.rows)


def _stays(at: Version, newest: Version) -> str:
    planned = newest.manifest.lineage.counts.get("planned", 0)
    of = f" of {planned:,} planned" if planned else ""
    simulated = " --simulated" if newest.manifest.provider == "simulator" else ""
    return (
        f"latest stays at {at.path.name} ({at.manifest.rows:,} rows), because {newest.path.name} has only {newest.manifest.rows:,}{of}; "
        f"it follows a version of {MIN_OF_PLAN} % of the plan and at most {MAX_LOST} % fewer rows, or is moved by "
        f"`convoforge publish {newest.manifest.dataset}{simulated} --allow-fewer`"
    )


def number_of(name: str) -> int | None:
    """The number of the version that a folder of this name is, or None."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def trusted(path: Folder, manifest: bytes, size: Callable[[str], int | None]) -> Version | None:
    """The version at `path`, if its manifest can be read and `size` (bytes) of every file it names is right."""
    try:
        found = Manifest.model_validate_json(manifest)
    except ValueError:
        return None
    whole = all(size(file.path) == file.bytes for file in found.files)
    return Version(path, found) if whole and found.version == number_of(path.name) else None


class LocalVersions(Versions):
    """Versions in local folders."""

    def __init__(self, layout: Layout, data: Path) -> None:
        super().__init__(layout)
        self._data = data
        self._folder = data / layout.folder
        self._versions = data / layout.versions

    @contextmanager
    def lock(self) -> Iterator[None]:
        make_folder(self._folder)
        make_folder(self._versions)
        create_file(self._versions / ".lock")
        with (self._versions / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def staging(self) -> Iterator[Stage]:
        with self.lock():
            for folder in (self._versions, self._folder):
                _sweep(folder)
            stage = self._versions / f".staging-{secrets.token_hex(8)}"
            make_folder(stage / "version")
            create_file(stage / _OWNER)
            owner = (stage / _OWNER).open("w")
            fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            yield Stage(stage / "version", stage / "rejected.parquet")
        finally:
            owner.close()
            shutil.rmtree(stage, ignore_errors=True)

    def good(self) -> list[Version]:
        found = []
        for path in self._paths():
            try:
                version = trusted(path, (path / manifests.NAME).read_bytes(), lambda file: (path / file).stat().st_size)  # noqa: B023 - called before the next turn of the loop
            except OSError:
                continue
            if version:
                found.append(version)
        return found

    def _open(self, version: Folder, name: str) -> IO[bytes]:
        return Path(str(version), name).open("rb")

    def make_visible(self, stage: Stage, number: int) -> Path:
        if stage.rejected.exists():  # first, as a version is whole once it is seen; without its version it is nothing to anybody
            _sync(stage.rejected)
            beside = self._data / self._layout.rejected(number)
            make_folder(beside.parent)
            make_private(stage.rejected)
            stage.rejected.replace(beside)
            _sync(beside.parent)
        make_private(stage.version)
        for path in (*stage.version.rglob("*"), stage.version):
            _sync(path)
        path = stage.version.rename(self._versions / version_name(number))
        _sync(self._versions)
        return path

    def latest_path(self, version: Version) -> Path:
        return self._folder / _LATEST

    def _latest(self) -> str | None:
        target = (self._folder / _LATEST).resolve()
        return next((path.name for path in self._paths() if path.resolve() == target), None)

    def _note_latest(self, version: Version) -> None:
        # relative, so that the data folder can be moved; from where the folders really are, as one of them may be a link elsewhere
        target = os.path.relpath(Path(str(version.path)).resolve(), self._folder.resolve())
        fresh = self._folder / f".{_LATEST}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(self._folder / _LATEST)
        _sync(self._folder)

    def _numbered(self, folder: str) -> dict[int, Folder]:
        path = self._data / folder
        paths = path.iterdir() if path.is_dir() else ()
        return {number: path for path in paths if (number := number_of(path.name)) is not None}

    def _paths(self) -> list[Path]:
        return [path for _, path in sorted(self._all().items()) if isinstance(path, Path)]


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
