"""The conversations of a dataset: searched in their texts, filtered, sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from convoforge.dataset import snapshots
from convoforge.dataset.browse import ORDERS, Search, find
from convoforge.dataset.snapshot import STATUSES
from convoforge.ledger.answers import read_answers, read_conversation
from convoforge.viewer.pages import page
from convoforge.viewer.state import DATASET, Chosen, Opened, Viewer, Which

PREVIEW = 180
"""Maximum characters of a preview."""

MAX_OPTIONS = 500
"""Maximum number of values of an axis that a list to choose from has; others are found by the text of an address."""

router = APIRouter(include_in_schema=False)


@router.get(DATASET + "/conversations")
async def show_conversations(request: Request, which: Chosen, viewer: Opened) -> HTMLResponse:
    """A page of the conversations that match what the address asks for."""
    return await viewer.run(_render, request, which, Search.read(request.query_params))


def _render(viewer: Viewer, request: Request, which: Which, search: Search) -> HTMLResponse:
    snapshot = which.snapshot(viewer, with_texts=bool(search.text), first_seconds=snapshots.FIRST_SECONDS)
    found = find(snapshot, search)
    return page(
        request,
        "conversations.html.jinja",
        section="datasets",
        which=which,
        snapshot=snapshot,
        search=search,
        found=found,
        previews=viewer.ledger.read(_read_previews, [row.request_id for row in found.rows], search.text),
        # of an axis with one value there is nothing to choose
        choices={name: some[:MAX_OPTIONS] for name, some in snapshot.choices.items() if len(some) > 1},
        orders=tuple(ORDERS),
        statuses=STATUSES,
    )


def _read_previews(connection: Connection, ids: Sequence[int], text: str) -> Mapping[int, tuple[str, str, str]]:
    """Request → how its conversation begins; or what stands before, at and after the first place of `text`."""
    return {row.id: _preview(_plain(row.edited or row.turns, row.raw_text), text) for row in read_answers(connection, ids)}


def _plain(turns: str | None, raw: str | None) -> str:
    return "\n".join(turn.content for turn in read_conversation(turns, None).turns) if turns else raw or ""


def _preview(whole: str, text: str) -> tuple[str, str, str]:
    at = whole.lower().find(text.lower()) if text else -1
    if at < 0:
        return _cut(whole[: 2 * PREVIEW]), "", ""
    start = max(0, at - PREVIEW // 3)
    return ("…" if start else "") + whole[start:at], whole[at : at + len(text)], _cut(whole[at + len(text) : at + 2 * PREVIEW])


def _cut(text: str) -> str:
    return text if len(text) <= PREVIEW else f"{text[:PREVIEW].rstrip()}…"
