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
    """An application whose description says what is true of its errors: a wrong request gets 400 and never FastAPI's own 422, and
    an error is JSON whatever else a route sends."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            described = super().openapi()
            described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for unused in ("HTTPValidationError", "ValidationError"):
                described["components"]["schemas"].pop(unused, None)
            described["security"] = [{"token": []}, {}]  # a server without tokens asks for none
            for methods in described["paths"].values():
                for route in methods.values():
                    responses = route["responses"]
                    if "HTTPValidationError" in str(responses.get("422")):
                        del responses["422"]
                    for status in responses.keys() & {str(number) for number in range(400, 600)}:
                        responses[status]["content"] = {"application/json": {"schema": _schema(responses[status])}}
        return super().openapi()


def _schema(response: dict[str, Any]) -> Any:
    return next(iter(response["content"].values())).get("schema", {})
