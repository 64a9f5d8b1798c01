"""`/docs`: one page that lists the routes and loads nothing from elsewhere. `/openapi.json` is the complete description for programs."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from convoforge.viewer.pages import page


async def docs(request: Request) -> HTMLResponse:
    """The page that lists the routes."""
    described = request.app.openapi()
    return page(request, "docs.html.jinja", section="", info=described["info"], paths=described["paths"])


class DescribedApp(FastAPI):
    """An application whose description leaves out FastAPI's own response to a wrong request, for which this server answers 400."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            for methods in super().openapi()["paths"].values():
                for route in methods.values():
                    if "HTTPValidationError" in str(route["responses"].get("422")):
                        del route["responses"]["422"]
        return super().openapi()
