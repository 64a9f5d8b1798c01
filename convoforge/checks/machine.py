"""The machine and what is installed on it: versions that do not work together, room on disks, who may read and write what."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from convoforge.finding import Finding, bad, good, warning
from convoforge.orchestration.server_home import auth_path, prefect_home
from convoforge.project import find_project
from convoforge.settings import Settings

KNOWN_TROUBLE = (
    (("prefect<3.9", "sqlalchemy>=2.1"), "its scheduler fails each minute, so no schedule ever runs"),
    (("prefect", "fastapi>=0.151"), "the Prefect server refuses what its own clients ask (status 422), or does not start"),
)
"""Versions that were met together, and do not work together."""

LOW_BYTES, FULL_BYTES = 2_000_000_000, 200_000_000
"""Free bytes from which on a disk is worth a warning, and is full."""


def check_versions() -> Iterator[Finding]:
    """Python, and the versions of dependencies: what this package asks for, and what is known not to work together."""
    name, trouble = "versions", False
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        trouble = True
        yield warning(name, f"Python {sys.version.split()[0]}", "convoforge is tested with Python 3.11 to 3.13: use one of these")
    for pair, why in KNOWN_TROUBLE:
        if all(_is_met(Requirement(one)) for one in pair):
            trouble = True
            found = " with ".join(f"{Requirement(one).name} {version(Requirement(one).name)}" for one in pair)
            yield bad(
                name, f"{found}: {why}", "pip install --constraint constraints.txt convoforge, with the file of the repository"
            )
    for text in requires("convoforge") or []:
        one = Requirement(text)
        if not (one.marker and not one.marker.evaluate({"extra": ""})) and not _is_met(one):
            trouble = True
            yield bad(
                name, f"{one.name} {_version(one.name) or 'is missing'}, and {one.specifier} is asked for", f"pip install '{one}'"
            )
    if not trouble:
        names = ("prefect", "sqlalchemy", "anthropic", "polars")
        yield good(name, f"Python {sys.version.split()[0]}, " + ", ".join(f"{one} {version(one)}" for one in names))


def _is_met(asked: Requirement) -> bool:
    found = _version(asked.name)
    return found is not None and asked.specifier.contains(found, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Room where data, ledger and Prefect's database are written."""
    folders = {"data": settings.data_dir, "Prefect": prefect_home()}
    for name, folder in folders.items():
        if not isinstance(folder, Path):
            yield good("disk", f"{name} lies in an object store, {folder}")
            continue
        free = shutil.disk_usage(_existing(folder)).free
        what = f"{free / 1e9:,.1f} GB free for {name} in {folder}"
        if free < FULL_BYTES:
            yield bad("disk", what, "make room: runs stop when they cannot write down what they have paid for")
        elif free < LOW_BYTES:
            yield warning("disk", what, "make room soon; a run stops in order when the disk is full")
        else:
            yield good("disk", what)


def check_permissions(settings: Settings) -> Iterator[Finding]:
    """Folders that must be writable, and files that hold secrets or what was paid for, which others must not read."""
    name, trouble = "permissions", False
    for folder in (settings.data_dir, prefect_home()):
        if isinstance(folder, Path) and not os.access(_existing(folder), os.W_OK | os.X_OK):
            trouble = True
            yield bad(name, f"{folder} cannot be written", f"chmod u+rwx {_existing(folder)}, or name another folder")
    project = find_project()
    private = [auth_path(prefect_home()), *([project / ".env"] if project else [])]
    if isinstance(settings.data_dir, Path):
        private.append(settings.data_dir / "ledger.db")
    for file in private:
        if file.exists() and file.stat().st_mode & 0o077:
            trouble = True
            yield warning(name, f"{file} can be read by others", f"chmod 600 {file}")
    if not trouble:
        yield good(name, "data and Prefect's folder can be written; key, password and ledger are yours alone")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: it is made when it is needed."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())
