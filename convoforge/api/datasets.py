"""Routes that read datasets: what there is, which versions were published, and their files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from convoforge.api.access import requires
from convoforge.api.bodies import Data
from convoforge.api.conversations import EVERYWHERE, Chosen, describe
from convoforge.api.data_bodies import DatasetBody, VersionBody
from convoforge.publish.versions import Version
from convoforge.viewer.datasets import DatasetRow, read_dataset_rows
from convoforge.viewer.state import Opened, Viewer, Which
from convoforge.viewer.version_files import find_version, find_versions, open_file

Number = Annotated[int, Field(ge=1, le=10**9)]
router = APIRouter(prefix="/api/datasets", responses={**EVERYWHERE, **describe(400, 500)}, dependencies=[requires("read")])


@router.get("")
async def datasets(viewer: Opened) -> Data[list[DatasetBody]]:
    """All datasets, real and simulated: newest version, spend, last run."""
    return Data(data=[DatasetBody.model_validate(row) for row in await viewer.run(_list_rows)])


@router.get("/{name}")
async def dataset(name: str, viewer: Opened, provider: Chosen) -> Data[DatasetBody]:
    """One dataset."""
    for row in await viewer.run(_list_rows):
        if (row.name, row.provider) == (name, provider):
            return Data(data=DatasetBody.model_validate(row))
    raise HTTPException(404, "there is no dataset with this name")


@router.get("/{name}/versions")
async def versions(name: str, viewer: Opened, provider: Chosen) -> Data[list[VersionBody]]:
    """The published versions of a dataset, oldest first, with their files."""
    return Data(data=await viewer.run(_list_versions, Which.of(name, provider)))


@router.get("/{name}/versions/{number}")
async def version(name: str, number: Number, viewer: Opened, provider: Chosen) -> Data[VersionBody]:
    """One version of a dataset."""
    return Data(data=await viewer.run(_read_version, Which.of(name, provider), number))


@router.get(
    "/{name}/versions/{number}/files/{path:path}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file"}},
)
async def download(name: str, number: Number, path: str, viewer: Opened, provider: Chosen) -> Response:
    """A file of a version: one that its manifest lists, or the manifest."""
    file, chunks = await viewer.run(open_file, Which.of(name, provider), number, path)
    headers = {"content-disposition": f'attachment; filename="{PurePosixPath(path).name}"'}
    if file is not None:
        headers |= {"content-length": str(file.bytes), "etag": f'"{file.sha256}"'}
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")


def _list_rows(viewer: Viewer) -> list[DatasetRow]:
    return viewer.ledger.read(read_dataset_rows, datetime.now(UTC))


def _list_versions(viewer: Viewer, which: Which) -> list[VersionBody]:
    versions = find_versions(viewer, which)
    latest = versions.current()
    found = [_show(version, latest) for version in versions.good()]
    if not found:
        raise HTTPException(404, "no version of this dataset is published")
    return found


def _read_version(viewer: Viewer, which: Which, number: int) -> VersionBody:
    versions = find_versions(viewer, which)
    return _show(find_version(versions, number), versions.current())


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
