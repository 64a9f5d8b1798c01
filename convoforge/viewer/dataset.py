"""One dataset: how far it is, what was not accepted, what it costs, its versions and their files; and a button that publishes."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from convoforge.dataset import snapshots
from convoforge.dataset.find_plan import find_own_plan
from convoforge.dataset.ledger_facts import read_run_costs
from convoforge.dataset.reasons import of_dataset, read_reasons
from convoforge.dataset.release import publish_again
from convoforge.dataset.snapshot import Snapshot
from convoforge.errors import ConvoforgeError
from convoforge.ledger.budgets import read_dataset_spend
from convoforge.ledger.tables import runs
from convoforge.planning.spec import AXES
from convoforge.publish import versions_in
from convoforge.publish.left_out import WORDS
from convoforge.viewer.pages import page
from convoforge.viewer.state import DATASET, Chosen, Opened, Viewer, Which, read_form
from convoforge.viewer.version_files import open_file

MAX_VALUES = 60
"""Maximum number of values of an axis in the heat map, the most frequent."""

AT_ONCE = 10_000
"""Maximum number of answers of a dataset whose page says at once what to do about them: for more that takes seconds, so it is asked for."""

_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""A version's report brings its style along, and holds no script."""

_TYPES = {".md": "text/plain; charset=utf-8", ".html": "text/html; charset=utf-8", ".json": "application/json"}
_KINDS = (*WORDS, (re.compile(r"([\w.-]+): .*", re.DOTALL), r"\1"))

router = APIRouter(include_in_schema=False)
actions = APIRouter(include_in_schema=False)
_publishing = threading.Lock()


@dataclass(frozen=True, slots=True)
class CoverageGrid:
    """Two axes: `cells` has a row for each value of `down`, of (accepted, wanted) by each value of `across`. `more`: values left out."""

    across: str
    down: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    more: int


@router.get(DATASET)
async def show_dataset(request: Request, which: Chosen, viewer: Opened) -> HTMLResponse:
    """The page of a dataset."""
    return await viewer.run(
        lambda opened: page(
            request,
            "dataset.html.jinja",
            section="datasets",
            which=which,
            **_describe(opened, which, dict(request.query_params)),
        )
    )


@router.get(DATASET + "/versions/{number:version}/{path:path}")
async def show_file(which: Chosen, number: int, path: str, viewer: Opened) -> Response:
    """A file of a version: the report as it is, others as text or to be saved."""
    _, chunks = await viewer.run(open_file, which, number, path)
    suffix = path[path.rfind(".") :]
    headers = {"content-security-policy": _REPORT_POLICY} if suffix == ".html" else {}
    if suffix not in _TYPES:
        headers["content-disposition"] = f'attachment; filename="{which.name}-v{number:04d}-{path.rpartition("/")[2]}"'
    return StreamingResponse(chunks, media_type=_TYPES.get(suffix, "application/octet-stream"), headers=headers)


@actions.post(DATASET + "/publish")
async def publish(request: Request, which: Chosen, viewer: Opened) -> Response:
    """Publish what is accepted today, as the command does; then show the dataset with what came of it."""
    await read_form(request)
    await viewer.run(_publish, which)
    return RedirectResponse(f"{which.address}?published#versions", 303)


def _describe(viewer: Viewer, which: Which, query: dict[str, str]) -> dict[str, Any]:
    snapshot = which.snapshot(viewer, wait_seconds=None, first_seconds=snapshots.FIRST_SECONDS)
    read = viewer.ledger.read
    spent = next((paid for *key, paid in read(read_dataset_spend) if key == [which.name, which.provider]), Decimal(0))
    shows_reasons = "reasons" in query or snapshot.frame.height <= AT_ONCE
    accepted = int((snapshot.frame["status"] == "accepted").sum())
    versions = [] if snapshot.plan is None else versions_in(which.layout(viewer.settings)).good()
    current = None if snapshot.plan is None else versions_in(which.layout(viewer.settings)).current()
    scores = Counter(dict(snapshot.frame["score"].drop_nulls().value_counts().iter_rows()))
    return {
        "snapshot": snapshot,
        "accepted": accepted,
        "spent": spent,
        "per_accepted": spent / accepted if accepted else None,
        "grid": _lay_out(snapshot, query),
        "axes": [axis for axis in AXES if snapshot.plan and len(getattr(snapshot.plan.spec.axes, axis)) > 1],
        "funnel": _count_held_back(snapshot),
        "scores": [(score, scores[score]) for score in range(1, 11)],
        "statuses": Counter(dict(snapshot.frame["status"].cast(pl.String).value_counts().iter_rows())),
        "versions": versions[::-1],
        "current": current,
        "runs": read(read_run_costs, runs.c.dataset_id == snapshot.dataset_id)[::-1],
        "reasons": read(read_reasons, of_dataset(snapshot.dataset_id))[:12] if shows_reasons else None,
        "all_reviewed": "reviewed" in query,
        "published": viewer.notes.get(which) if "published" in query else None,
    }


def _lay_out(snapshot: Snapshot, query: dict[str, str]) -> CoverageGrid | None:
    """The heat map of two axes: those asked for, else the two with the most values."""
    if snapshot.plan is None:
        return None
    axes = snapshot.plan.spec.axes
    some = sorted((axis for axis in AXES if len(getattr(axes, axis)) > 1), key=lambda axis: -len(getattr(axes, axis)))
    down = query.get("down") if query.get("down") in some else next(iter(some), None)
    others = [axis for axis in some if axis != down]
    across = query.get("across") if query.get("across") in others else next(iter(others), None)
    if down is None or across is None:
        return None
    counts = snapshot.count_pairs((down, across))
    totals = [Counter[str](), Counter[str]()]
    for pair, (_, wanted) in counts.items():
        for at in (0, 1):
            totals[at][pair[at]] += wanted
    rows, columns = ([value for value, _ in sorted(one.items(), key=lambda item: (-item[1], item[0]))] for one in totals)
    shown = [(row, [counts.get((row, column), (0, 0)) for column in columns[:MAX_VALUES]]) for row in rows[:MAX_VALUES]]
    more = max(0, len(rows) - MAX_VALUES) + max(0, len(columns) - MAX_VALUES)
    return CoverageGrid(across, down, columns[:MAX_VALUES], shown, more)


def _count_held_back(snapshot: Snapshot) -> list[tuple[str, int, int]]:
    """What held answers back: (reason, how many, how many were left after it), filters by how much they hold back, the score later."""
    held = snapshot.frame.filter(pl.col("status").cast(pl.String).is_in(["needs_revision", "dropped"]))
    counts: Counter[str] = Counter()
    for reason, number in held["reason"].value_counts().iter_rows():
        counts[next((found.expand(words) for pattern, words in _KINDS if (found := pattern.match(reason))), "other reasons")] += (
            number
        )
    left, steps = snapshot.frame.height, []
    later = ("score below", "duplicates", "near-duplicates", "a reviewer")
    for name, count in sorted(counts.items(), key=lambda item: (item[0].startswith(later), -item[1])):
        left -= count
        steps.append((name, count, left))
    return steps


def _publish(viewer: Viewer, which: Which) -> None:
    if not _publishing.acquire(blocking=False):
        raise HTTPException(409, "a version is being published already: wait until it is there")
    try:
        which.snapshot(viewer)  # which says whether there is such a dataset; its plan may be a minute old
        plan, dataset_id = find_own_plan(viewer.ledger, viewer.settings, which.name, which.provider)
        published, _ = publish_again(viewer.ledger, plan, dataset_id, viewer.settings.data_dir)
    except ConvoforgeError as error:
        raise HTTPException(409, str(error)) from None
    finally:
        _publishing.release()
    if published.version is None:
        text = "Nothing is accepted, so there is nothing to publish."
    elif published.unchanged:
        text = f"Version {published.version} holds the same rows already: no new one was made."
    else:
        text = f"Version {published.version} is published, with {published.rows:,} rows."
    viewer.notes[which] = " ".join((text, *published.notes, published.behind or "")).strip()
