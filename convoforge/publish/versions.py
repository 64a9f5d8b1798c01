"""The folder of a dataset: `v0001`, `v0002` …, `latest`, and what is still being staged. The only room that knows how it is stored.

A version appears by one rename and is never touched again. Whoever changes what is visible holds the folder's lock; whoever
stages holds a lock inside the staging folder, which the operating system lets go of when its process dies, however it dies.
For an object store the functions here are the ones to write anew (stage locally, upload, manifest last, then a `LATEST` file).
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convoforge.errors import LedgerError
from convoforge.publish import manifest as manifests
from convoforge.publish.manifest import Manifest

_LATEST = "latest"
_OWNER = ".owner"
_VERSION = re.compile(r"v(\d{4}|[1-9]\d{4,})")


@dataclass(frozen=True, slots=True)
class Version:
    """A good version: its manifest can be read, and every file it names is there in its size."""

    path: Path
    manifest: Manifest


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Holds the dataset's folder, which is created if need be, against other publishers. Not reentrant."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder to write a version in, gone afterwards unless it was revealed. Sweeps away what dead publishers left."""
    with lock(folder):
        _sweep(folder)
        stage = folder / f".staging-{secrets.token_hex(8)}"
        stage.mkdir()
        owner = (stage / _OWNER).open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        yield stage
    finally:
        owner.close()
        shutil.rmtree(stage, ignore_errors=True)


def good_versions(folder: Path) -> list[Version]:
    """The versions that can be trusted, oldest first."""
    found = []
    for number, path in _numbered(folder):
        try:
            manifest = Manifest.model_validate_json((path / manifests.NAME).read_bytes())
            whole = all((path / file.path).stat().st_size == file.bytes for file in manifest.files)
        except (OSError, ValueError):
            continue
        if whole and manifest.version == number:
            found.append(Version(path, manifest))
    return found


def next_number(folder: Path, reserve: Callable[[], int]) -> int:
    """A number above every version in the folder, good or not. `reserve` is asked again while a folder outlived its ledger.

    Raises LedgerError if `reserve` gives a number that is not above the one before.
    """
    taken = max((number for number, _ in _numbered(folder)), default=0)
    before = 0
    while (number := reserve()) <= taken:
        if number <= before:
            raise LedgerError(f"version number {number} was reserved after {before}: numbers must grow.")
        before = number
    return number


def reveal(stage: Path, number: int) -> Path:
    """Makes the staged folder version `number`, at once and for good, and returns where it is. The caller holds the lock."""
    (stage / _OWNER).unlink()
    for path in (*stage.rglob("*"), stage):
        _sync(path)
    path = stage.rename(stage.parent / f"v{number:04d}")
    _sync(stage.parent)
    return path


def follow(folder: Path, *, allow_fewer: bool) -> str | None:
    """Points `latest` at the newest good version, unless that has fewer rows; returns a note if it has. The caller holds the lock.

    From where `latest` is (or from the oldest version, if it is nowhere) it moves through the newer ones, one by one, to each
    that has no fewer rows or was published with `allow_fewer`; `allow_fewer` here is for the newest.
    """
    versions = good_versions(folder)
    link = folder / _LATEST
    linked = link.readlink().name if link.is_symlink() else None
    at = next((version for version in versions if version.path.name == linked), versions[0])
    for version in versions[versions.index(at) + 1 :]:
        allowed = version.manifest.allow_fewer or (allow_fewer and version is versions[-1])
        if allowed or version.manifest.rows >= at.manifest.rows:
            at = version
    if at.path.name != linked:
        fresh = folder / f".{_LATEST}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(at.path.name)
        fresh.replace(link)
        _sync(folder)
    if at is versions[-1]:
        return None
    newest = versions[-1]
    return (
        f"latest stays at {at.path.name} ({at.manifest.rows} rows), because {newest.path.name} has only "
        f"{newest.manifest.rows}: publish with allow_fewer to move it"
    )


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    matches = [(_VERSION.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match)


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
