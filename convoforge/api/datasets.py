"""Routes that read datasets: what there is, which versions were published, and their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from convoforge.api.access import requires
from convoforge.api.bodies import Data
from convoforge.api.conversations import EVERYWHERE, describe
from convoforge.api.data_bodies import DatasetBody, RunBody, VersionBody
from convoforge.dataset.release import dataset_layout
from convoforge.publish import versions_in
from convoforge.publish.manifest import NAME as MANIFEST
from convoforge.publish.manifest import File
from convoforge.publish.versions import Version, Versions
from convoforge.viewer.datasets import DatasetRow, read_dataset_rows
from convoforge.viewer.state import Opened, Viewer

CHUNK_BYTES = 1 << 20

Simulated = Annotated[bool, Query(description="The dataset that the simulator wrote, instead of the real one.")]
Number = Annotated[int, Field(ge=1, le=10**9)]
router = APIRouter(prefix="/api/datasets", responses={**EVERYWHERE, **describe(400, 500)}, dependencies=[requires("read")])


@router.get("")
async def datasets(viewer: Opened) -> Data[list[DatasetBody]]:
    """All datasets, real and simulated: newest version, spend, last run."""
    return Data(data=[_describe(row) for row in await viewer.run(_list_rows)])


@router.get("/{name}")
async def dataset(name: str, viewer: Opened, simulated: Simulated = False) -> Data[DatasetBody]:
    """One dataset."""
    for row in await viewer.run(_list_rows):
        if row.name == name and (row.provider == "simulator") is simulated:
            return Data(data=_describe(row))
    raise HTTPException(404, "there is no dataset with this name")


@router.get("/{name}/versions")
async def versions(name: str, viewer: Opened, simulated: Simulated = False) -> Data[list[VersionBody]]:
    """The published versions of a dataset, oldest first, with their files."""
    found, latest = await viewer.run(_list_versions, name, simulated)
    return Data(data=[_show(version, latest) for version in found])


@router.get("/{name}/versions/{number}")
async def version(name: str, number: Number, viewer: Opened, simulated: Simulated = False) -> Data[VersionBody]:
    """One version of a dataset."""
    found, latest = await viewer.run(_list_versions, name, simulated)
    return Data(data=_show(_choose(found, number), latest))


@router.get(
    "/{name}/versions/{number}/files/{path:path}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file"}},
)
async def download(name: str, number: Number, path: str, viewer: Opened, simulated: Simulated = False) -> Response:
    """A file of a version: one that its manifest lists, or the manifest."""
    file, chunks = await viewer.run(_open, name, number, path, simulated)
    headers = {"content-disposition": f'attachment; filename="{PurePosixPath(path).name}"'}
    if file is not None:
        headers |= {"content-length": str(file.bytes), "etag": f'"{file.sha256}"'}
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")


def _list_rows(viewer: Viewer) -> list[DatasetRow]:
    return viewer.ledger.read(read_dataset_rows, datetime.now(UTC))


def _versions(viewer: Viewer, name: str, simulated: bool) -> Versions:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", name):
        raise HTTPException(404, "there is no dataset with this name")
    return versions_in(dataset_layout(viewer.settings.data_dir, name, "simulator" if simulated else "anthropic"))


def _list_versions(viewer: Viewer, name: str, simulated: bool) -> tuple[list[Version], Version | None]:
    versions = _versions(viewer, name, simulated)
    found = versions.good()
    if not found:
        raise HTTPException(404, "no version of this dataset is published")
    return found, versions.current()


def _choose(found: list[Version], number: int) -> Version:
    version = next((one for one in found if one.manifest.version == number), None)
    if version is None:
        raise HTTPException(404, "the dataset has no version with this number")
    return version


def _open(viewer: Viewer, name: str, number: int, path: str, simulated: bool) -> tuple[File | None, Iterator[bytes]]:
    """A file as its manifest has it (None for the manifest), and its bytes. Its first bytes are read, so that it is known to be there."""
    versions = _versions(viewer, name, simulated)
    version = _choose(versions.good(), number)
    file = next((one for one in version.manifest.files if one.path == path), None)
    if (file is None and path != MANIFEST) or ".." in PurePosixPath(path).parts or PurePosixPath(path).is_absolute():
        raise HTTPException(404, "the version has no such file")
    chunks = _read(versions, version, path)
    try:
        return file, chain([next(chunks, b"")], chunks)
    except FileNotFoundError:
        raise HTTPException(404, "this file of the version is gone: `convoforge doctor` says what to do") from None


def _read(versions: Versions, version: Version, path: str) -> Iterator[bytes]:
    with versions.open(version, path) as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


def _describe(row: DatasetRow) -> DatasetBody:
    run = None
    if row.run_id and row.run_state and row.run_at:
        run = RunBody(id=row.run_id, state=row.run_state, started_at=row.run_at)
    return DatasetBody(
        name=row.name,
        provider="simulator" if row.provider == "simulator" else "anthropic",
        model=row.model,
        spent=float(row.spent),
        version=row.version,
        rows=row.rows,
        last_run=run,
    )


def _show(version: Version, latest: Version | None) -> VersionBody:
    manifest = version.manifest
    return VersionBody(
        latest=latest is not None and latest.manifest.version == manifest.version,
        splits=dict(manifest.splits),
        files=list(manifest.files),
        **{
            name: getattr(manifest, name)
            for name in ("version", "created_at", "provider", "rows", "needs_revision", "dropped", "data_sha256")
        },
    )
