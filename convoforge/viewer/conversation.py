"""One conversation as a chat, with all that is known of it, and the decisions that a reviewer can make on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import polars as pl
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection, and_, or_, select

from convoforge.dataset import snapshots
from convoforge.dataset.browse import Place, Search, find_place
from convoforge.dataset.snapshot import STATUSES, Snapshot
from convoforge.errors import ConfigError, StaleEdit, UnknownConversation
from convoforge.ledger.answers import read_answers, read_conversation
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.reviews import Review, find_answer, read_answer_reviews
from convoforge.ledger.tables import IS_HELD, answers, datasets, generation_logs, near_pairs, requests
from convoforge.models import Conversation, Prompt, Turn
from convoforge.pricing import usd
from convoforge.review.deciding import decide, find_deciding, find_edit, undo
from convoforge.viewer.pages import page
from convoforge.viewer.queue import SAMPLES
from convoforge.viewer.state import DATASET, Chosen, Opened, Viewer, Which, read_form

MAX_NEIGHBORS = 8
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

router = APIRouter(include_in_schema=False)
actions = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ChatNeighbor:
    """A conversation that resembles another one, 0 to 1, and where it is."""

    address: str
    dataset: str
    similarity: float
    beginning: str


@dataclass(frozen=True, slots=True)
class EditForm:
    """What the form of an edit holds. `edit_of` is what it was made of: the id of the edit that is shown, 0 for the original. `fault` says
    why it comes back."""

    turns: Sequence[Turn]
    edit_of: int
    note: str = ""
    fault: str = ""


@router.get(DATASET + "/review")
async def show_queue(request: Request, which: Chosen, viewer: Opened, sample: str = "all") -> Response:
    """The first conversation of a sample that waits for a review."""
    first = await viewer.run(_choose_first, which, sample, request.state.who)
    if first is None:
        return RedirectResponse(f"{which.address}?reviewed", 303)
    return RedirectResponse(f"{which.address}/conversations/{first}?{urlencode({'queue': sample})}", 303)


@router.get(DATASET + "/conversations/{conversation_id}")
async def show_conversation(request: Request, which: Chosen, conversation_id: str, viewer: Opened) -> HTMLResponse:
    """The page of a conversation. The rest of the address says which list it was reached from."""
    return await viewer.run(_render, request, which, conversation_id)


@actions.post(DATASET + "/conversations/{conversation_id}/review")
async def review(request: Request, which: Chosen, conversation_id: str, viewer: Opened) -> Response:
    """Write a decision, and go on to the next conversation of the list."""
    form = await read_form(request)
    try:
        address = await viewer.run(_decide, which, conversation_id, dict(request.query_params), form, request.state.who)
    except StaleEdit as error:
        return await viewer.run(_render, request, which, conversation_id, form, str(error))
    except UnknownConversation as error:
        raise HTTPException(404, str(error)) from None
    except ConfigError as error:
        raise HTTPException(400, str(error)) from None
    return RedirectResponse(address, 303)


def _choose_first(viewer: Viewer, which: Which, sample: str, who: str) -> str | None:
    snapshot = which.snapshot(viewer, wait_seconds=None, first_seconds=snapshots.FIRST_SECONDS)
    viewer.queues.choose(viewer.ledger, snapshot, sample, who)
    return next(iter(viewer.queues.list_waiting(viewer.ledger, snapshot, sample, who)), None)


def _render(
    viewer: Viewer, request: Request, which: Which, conversation_id: str, sent: dict[str, str] | None = None, fault: str = ""
) -> HTMLResponse:
    """The page of a conversation; with the edit that was sent, and why it could not be saved."""
    query = dict(request.query_params)
    about, editing = _describe(viewer, which, conversation_id, query, request.state.who), None
    if (shown := about["shown"]) and (sent is not None or "edit" in query):
        edit = find_edit(about["reviews"])
        turns, note = (shown.turns, "") if sent is None else (_read_turns(sent, shown), sent.get("note", ""))
        editing = EditForm(turns, edit.id if edit else 0, note, fault)
    status = 409 if fault else 200
    return page(request, "conversation.html.jinja", section="datasets", status=status, which=which, editing=editing, **about)


def _describe(viewer: Viewer, which: Which, conversation_id: str, query: dict[str, str], who: str) -> dict[str, Any]:
    snapshot, read = which.snapshot(viewer, first_seconds=snapshots.FIRST_SECONDS), viewer.ledger.read
    row, reviews = _find_row(viewer, which, snapshot, conversation_id)
    original = read_conversation(row.turns, row.system) if row.turns else None
    edit = find_edit(reviews)
    shown = Conversation(edit.turns, row.system) if edit and edit.turns else original
    held = next(snapshot.frame.filter(pl.col("request_id") == row.id).iter_rows(named=True), None)
    quality = read_quality(row.score, row.results)
    done = query.get("done", "")
    return {
        "snapshot": snapshot,
        "row": row,
        "original": original,
        "shown": shown,
        "counts_as": held["status"] if held else "unscored",
        "statuses": STATUSES,
        "reason": held["reason"] if held else "",
        "points": [one for one in quality.results if one.points is not None] if quality else [],
        "verdicts": [one for one in quality.results if one.verdict not in (None, "keep")] if quality else [],
        "kept": [one.name for one in quality.results if one.verdict == "keep"] if quality else [],
        "reviews": reviews,
        "decision": find_deciding(reviews),
        "own": any(one.stands and one.reviewer == who for one in reviews),
        "done": _read_done(viewer, done) if done else None,
        "neighbors": read(_read_neighbors, row.id),
        "attempts": read(_read_attempts, row.id),
        "prompt": _render_prompt(snapshot, row),
        "place": _find_place(viewer, which, snapshot, query, conversation_id, who),
        "query": _list_query(query),
        "list_query": urlencode(Search.read(query).as_query()),
        "queue": query.get("queue"),
        "samples": SAMPLES,
        "usd": usd,
    }


def _find_row(viewer: Viewer, which: Which, snapshot: Snapshot, conversation_id: str) -> tuple[Any, Sequence[Review]]:
    answer = viewer.ledger.read(find_answer, conversation_id)
    if answer is None or answer.dataset_id != snapshot.dataset_id:
        raise HTTPException(404, f"dataset {which.name} has no such conversation")
    if not answer.is_held:
        raise HTTPException(404, "this conversation was replaced by another answer to its request")
    row = viewer.ledger.read(lambda connection: next(read_answers(connection, [answer.request_id])))
    return row, viewer.ledger.read(read_answer_reviews, answer.request_id, answer.attempt)


def _find_place(viewer: Viewer, which: Which, snapshot: Snapshot, query: dict[str, str], conversation_id: str, who: str) -> Place:
    if "queue" in query:
        return Place.among(
            viewer.queues.list_waiting(viewer.ledger, snapshot, query["queue"], who, conversation_id), conversation_id
        )
    search = Search.read(query)
    if search.text and snapshot.texts is None:
        snapshot = which.snapshot(viewer, with_texts=True, first_seconds=snapshots.FIRST_SECONDS)
    return find_place(snapshot, search, conversation_id)


def _list_query(query: dict[str, str]) -> str:
    """What of an address says which list a conversation was reached from."""
    return urlencode({"queue": query["queue"]} if "queue" in query else Search.read(query).as_query())


def _decide(viewer: Viewer, which: Which, conversation_id: str, query: dict[str, str], form: dict[str, str], who: str) -> str:
    """Write what a form says. Returns the address to go on with: the next conversation, or this one where there is none."""
    searches = "queue" not in query and bool(Search.read(query).text)
    snapshot, now = which.snapshot(viewer, with_texts=searches), datetime.now(UTC)
    row, _ = _find_row(viewer, which, snapshot, conversation_id)  # of this dataset, not of another one
    place, rest = _find_place(viewer, which, snapshot, query, conversation_id, who), _list_query(query)
    here = f"{which.address}/conversations/{conversation_id}?{rest}"
    decision = form.get("decision", "")
    if decision == "undo":
        undo(viewer.ledger, conversation_id, who, now=now)
        viewer.snapshots.look_again(which.name, which.provider)
        return here
    edited: dict[str, Any] = {}
    if decision == "edit" and row.turns:
        named = form.get("edit_of", "")
        edited["edit_of"] = int(named) if named.isascii() and named.isdigit() and len(named) < 19 else -1  # which none is
        edited["turns"] = _read_turns(form, read_conversation(row.edited or row.turns, None))
    decide(viewer.ledger, conversation_id, decision, who, now=now, note=form.get("note", ""), **edited)
    viewer.snapshots.look_again(which.name, which.provider)
    if place.after is None:
        return f"{here}&{urlencode({'done': conversation_id})}"
    return f"{which.address}/conversations/{place.after}?{rest}&{urlencode({'done': conversation_id})}"


def _read_turns(form: dict[str, str], shown: Conversation) -> list[Turn]:
    """The turns that a form holds. A browser sends other line ends and no control characters: a turn that is otherwise the one that is
    shown is unchanged."""
    turns: list[Turn] = []
    while (given := form.get(f"turn-{len(turns)}")) is not None:
        given = given.replace("\r\n", "\n")
        before = shown.turns[len(turns)].content if len(turns) < len(shown.turns) else ""
        same = _CONTROL.sub("", given) == _CONTROL.sub("", before.replace("\r\n", "\n"))
        turns.append(Turn("assistant" if len(turns) % 2 else "user", before if same else given))
    return turns


def _read_done(viewer: Viewer, conversation_id: str) -> tuple[str, str] | None:
    """The last decision on the conversation that a reviewer comes from: its id, and the decision."""
    answer = viewer.ledger.read(find_answer, conversation_id)
    last = find_deciding(viewer.ledger.read(read_answer_reviews, answer.request_id, answer.attempt)) if answer else None
    return (conversation_id, last.decision) if last else None


def _read_neighbors(connection: Connection, request_id: int) -> list[ChatNeighbor]:
    own, other = near_pairs.c.request_id, near_pairs.c.other_id
    beside = or_(and_(own == request_id, requests.c.id == other), and_(other == request_id, requests.c.id == own))
    query = (
        select(near_pairs.c.similarity, answers.c.conversation_id, answers.c.turns, datasets.c.name, datasets.c.provider)
        .select_from(near_pairs)
        .join(requests, beside)
        .join(answers, IS_HELD)
        .join(datasets, datasets.c.id == requests.c.dataset_id)
        .where(or_(own == request_id, other == request_id))
        .order_by(near_pairs.c.similarity.desc(), answers.c.conversation_id)
        .limit(MAX_NEIGHBORS)
    )
    found = []
    for similarity, conversation_id, turns, name, provider in connection.execute(query):
        address = f"{Which.of(name, provider).address}/conversations/{conversation_id}"
        said = read_conversation(turns, None).turns if turns else ()
        found.append(ChatNeighbor(address, name, similarity, said[0].content[:160] if said else ""))
    return found


def _read_attempts(connection: Connection, request_id: int) -> Sequence[Any]:
    logs = generation_logs.c
    return connection.execute(select(generation_logs).where(logs.request_id == request_id).order_by(logs.attempt)).all()


def _render_prompt(snapshot: Snapshot, row: Any) -> tuple[Prompt, bool] | None:
    """The prompt as it would be sent today, and whether it is the one that was sent; None where templates cannot say it."""
    if snapshot.plan is None:
        return None
    cell = next((cell for cell in snapshot.plan.cells if cell.key == row.cell), None)
    if cell is None:
        return None
    try:
        prompt = snapshot.plan.prompt(cell, row.draw, row.lines)
        return prompt, snapshot.plan.fingerprint(cell, row.draw, row.lines) == row.fingerprint_1
    except ConfigError:
        return None
