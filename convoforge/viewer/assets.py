"""The viewer's style sheet and script, served from the package: a browser keeps them, as another content has another address."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {
    "viewer.css": "text/css",
    "viewer.js": "text/javascript",
    "runs.css": "text/css",
    "runs.js": "text/javascript",
    "run_list.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

router = APIRouter(include_in_schema=False)


def asset_address(name: str) -> str:
    """The address of an asset, with its hash."""
    return f"/static/{name}?{_load(name)[1]}"


@router.get("/static/{name}")
async def asset(name: str, request: Request) -> Response:
    """An asset; for a year, where the address has its hash."""
    if name not in _TYPES:
        raise HTTPException(404, "there is no such page")
    content, digest = _load(name)
    keep = "public, max-age=31536000, immutable" if request.url.query == digest else "no-cache"
    headers = {"cache-control": keep, "etag": f'"{digest}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[name], headers=headers)


@cache
def _load(name: str) -> tuple[bytes, str]:
    content = (_FOLDER / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]
