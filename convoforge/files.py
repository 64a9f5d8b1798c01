"""Files and folders for their owner alone: 0600 and 0700, whatever the umask. What is there already keeps the mode it has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

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
    """Take a folder of ours, with all that is in it, away from everybody else."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)
