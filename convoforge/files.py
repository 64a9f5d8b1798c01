"""Files and folders: made for their owner alone (0600 and 0700, whatever the umask; what is there already keeps the mode it has), and
found in whatever Unicode form their names are written."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from pathlib import Path

from convoforge.errors import ConfigError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing. Raises `OSError` where that cannot be."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        if path.is_dir():  # somebody else was quicker
            return
        raise
    path.chmod(PRIVATE_FOLDER)  # a umask may have taken more away


def create_file(path: Path) -> None:
    """Make an empty file where there is none. Raises `OSError` where that cannot be."""
    with suppress(FileExistsError):
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
        os.fchmod(handle, PRIVATE_FILE)
        os.close(handle)


def make_private(folder: Path) -> None:
    """Take a file of ours, or a folder with all that is in it, away from everybody else."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


def real_path(path: Path) -> Path:
    """The path under the names that are on the disk: Unicode writes many letters in two ways (NFC and NFD), which look the same and
    are two names. What is there as it is written stays as it is."""
    if has_one_form(str(path)) or os.path.lexists(path):
        return path
    parent = real_path(path.parent)
    twins = _twins(parent, path.name)
    return parent / (twins[0] if twins else path.name)


def find_file(path: Path) -> Path | None:
    """The file of a name in either Unicode form, or None. Raises `ConfigError` where both are there."""
    folder = real_path(path.parent)
    spellings = [path.name] if has_one_form(path.name) else _twins(folder, path.name)
    found = [folder / name for name in spellings if _is_file(folder / name)]
    if len(found) > 1:
        twins = " and ".join(ascii(one.name) for one in sorted(found))
        raise ConfigError(
            f"{folder}: {twins} are one name, written in two Unicode forms (NFC and NFD): take one of the files away"
        )
    return found[0] if found else None


def has_one_form(text: str) -> bool:
    """Whether a text is written in one way only."""
    return text.isascii() or unicodedata.normalize("NFC", text) == unicodedata.normalize("NFD", text)


def _twins(folder: Path, name: str) -> list[str]:
    wanted = unicodedata.normalize("NFC", name)
    try:
        return [one.name for one in folder.iterdir() if unicodedata.normalize("NFC", one.name) == wanted]
    except (OSError, ValueError):
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long; a NUL
        return False
