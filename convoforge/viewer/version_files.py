"""Files of published versions, as pages and programs fetch them: what a manifest lists, and the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain

from fastapi import HTTPException

from convoforge.publish import versions_in
from convoforge.publish.manifest import NAME as MANIFEST
from convoforge.publish.manifest import File
from convoforge.publish.versions import Version, Versions
from convoforge.viewer.state import Viewer, Which

CHUNK_BYTES = 1 << 20


def find_versions(viewer: Viewer, which: Which) -> Versions:
    """Where a dataset's versions are. Raises `HTTPException` (404) for what is no name: it becomes a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", which.name):
        raise HTTPException(404, "there is no dataset with this name")
    return versions_in(which.layout(viewer.settings))


def find_version(versions: Versions, number: int) -> Version:
    """A version by its number. Raises `HTTPException` (404)."""
    version = next((one for one in versions.good() if one.manifest.version == number), None)
    if version is None:
        raise HTTPException(404, "the dataset has no version with this number")
    return version


def open_file(viewer: Viewer, which: Which, number: int, path: str) -> tuple[File | None, Iterator[bytes]]:
    """A file as its manifest has it (None for the manifest), and its bytes. Its first bytes are read, so that it is known to be there.
    Raises `HTTPException` (404)."""
    versions = find_versions(viewer, which)
    version = find_version(versions, number)
    file = next((one for one in version.manifest.files if one.path == path), None)
    if file is None and path != MANIFEST:
        raise HTTPException(404, "the version has no such file")
    chunks = _read(versions, version, path)
    try:
        return file, chain([next(chunks, b"")], chunks)
    except FileNotFoundError:
        raise HTTPException(404, "this file of the version is gone: `convoforge doctor` says what to do") from None


def _read(versions: Versions, version: Version, path: str) -> Iterator[bytes]:
    with versions.open(version, path) as source:
        yield from iter(partial(source.read, CHUNK_BYTES), b"")
