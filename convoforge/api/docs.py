"""`/docs`: one page that lists the routes and loads nothing from elsewhere. `/openapi.json` is the complete description for programs."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from convoforge.viewer.pages import page


async def docs(request: Request) -> HTMLResponse:
    """The page that lists the routes."""
    described = request.app.openapi()
    return page(request, "docs.html.jinja", section="", info=described["info"], paths=described["paths"])
