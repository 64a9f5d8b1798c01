"""Turns values into pages: templates that escape what others wrote, and one sentence for what went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.datastructures import Headers
from starlette.types import Scope

from convoforge.errors import span
from convoforge.pricing import dollars
from convoforge.printable import printable
from convoforge.viewer.assets import asset_address

SECTIONS = {"datasets": "/", "runs": "/runs", "costs": "/costs", "health": "/health"}
"""The navigation: name → address."""


def page(
    request: Request, template: str, *, section: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """The page that a template makes of values. `section` is where the navigation says that the reader is."""
    text = _environment().get_template(template).render(section=section, state=request.state, **values)
    return HTMLResponse(text.encode(errors="replace"), status, dict(headers or {}))


def fragment(template: str, **values: Any) -> str:
    """A part of a page."""
    return _environment().get_template(template).render(**values)


def error_page(status: int, message: str, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """A page for a person whose request failed: what is wrong, in one sentence. One that opens by itself later is no failure."""
    comes = "refresh" in (headers or {})
    title = "One moment" if comes else HTTPStatus(status).phrase
    message = "there is no such page" if message == HTTPStatus.NOT_FOUND.phrase else message
    sentence = f"{message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}"
    text = (
        _environment()
        .get_template("error.html.jinja")
        .render(section="", state=None, over="" if comes else status, title=title, sentence=sentence)
    )
    return HTMLResponse(text.encode(errors="replace"), status, dict(headers or {}))


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for a page: its errors are pages, those of programs are JSON."""
    return not scope["path"].startswith("/api/") and "text/html" in Headers(scope=scope).get("accept", "")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
    )
    environment.globals |= {"sections": SECTIONS, "asset": asset_address}
    environment.filters |= {
        "count": lambda value: "–" if value is None else f"{value:,}",
        "percent": _percent,
        "dollars": _dollars,
        "moment": lambda at: "–" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}",
        "ago": _ago,
        "span": span,
        "told": _mark_code,
        "query": lambda values: urlencode({name: value for name, value in values.items() if value not in (None, "")}),
        "raw": lambda text: Markup(escape(text)),  # noqa: S704 - as it is, for a form: what is shown elsewhere has visible control characters
        "level": _level,
        "words": lambda text: str(text).replace("_", " "),
    }
    return environment


def _mark_code(text: object) -> Markup:
    """A message of ours, with what is to be typed, which stands in backticks, as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(printable(str(text))))))  # noqa: S704 - it is escaped before


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"


def _dollars(amount: Decimal | None) -> str:
    return "–" if amount is None else dollars(amount)


def _ago(at: datetime | None) -> str:
    """How long ago, roughly: "3 h ago"."""
    if at is None:
        return "–"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,} {unit} ago"
    return "just now"


def _level(part: float, whole: float) -> int:
    """A shade from 0 (nothing) to 10 (all of it), which a class of the style sheet has."""
    return 0 if part <= 0 or whole <= 0 else max(1, min(10, round(10 * part / whole)))
