"""`/docs`: one page that lists the routes and loads nothing else. `/openapi.json` is the complete description for programs."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>convoforge</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
code{{background:#eee;padding:0 .2rem}}table{{border-collapse:collapse}}td{{padding:.1rem 1rem .1rem 0;vertical-align:top}}</style></head>
<body><h1>convoforge {version}</h1>
<p>Every route with its bodies is described in <a href="openapi.json">openapi.json</a>, for people and for generators of clients.</p>
{routes}
</body></html>
"""


async def docs(request: Request) -> HTMLResponse:
    """The page that lists the routes."""
    described = request.app.openapi()
    routes = "".join(
        _route(method, path, operation) for path, methods in described["paths"].items() for method, operation in methods.items()
    )
    page = _PAGE.format(version=escape(described["info"]["version"]), routes=routes)
    return HTMLResponse(page, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
        if status != "422" or "HTTPValidationError" not in str(answer)
    )
    title = f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    return f"{title}<p>{escape(operation.get('description', ''))}</p><table>{answers}</table>"
