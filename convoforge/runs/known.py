"""Runs as people see them: with live figures of those that go on, and with the end of those that were killed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from convoforge.costs.run_figures import RunFigures, read_run_figures
from convoforge.errors import ConfigError, format_count
from convoforge.ledger.owners import UNEXPECTED_END, list_living_owners
from convoforge.ledger.runs import read_runs
from convoforge.models import Frozen
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import dollars, usd
from convoforge.rate import describe_rate

if TYPE_CHECKING:
    from sqlalchemy import Connection


NOTE_SECONDS = 20.0
"""Seconds after which what a process has said of itself is no longer shown: it says something every 5 s."""


class RunNote(Frozen):
    """What the process of a run says of itself at one moment, which the ledger cannot know: what it does, what it waits for ("" for
    nothing), how many answers are accepted so far, how many requests wait for the rate, how many were sent in the last window and how many
    may be, and seconds left."""

    at: datetime
    stage: str
    waiting: str
    accepted: int
    queue: int
    used: int
    allowed: int
    seconds_left: float | None


@dataclass(frozen=True)
class KnownRun:
    """A run as it stands now. `row` is the ledger's, `report` what it left; `state` and `message` tell a killed run from one that goes on.
    `figures` are of its calls in the ledger, where the report does not say enough; `note` is what its process has said just now,
    and `at` when all this was read."""

    row: Any
    report: dict[str, Any]
    state: str
    message: str
    figures: RunFigures | None
    note: RunNote | None
    at: datetime

    @cached_property
    def spec(self) -> DatasetSpec | None:
        """What it builds; None where another version of this package says so in other words."""
        with suppress(ConfigError):
            return DatasetSpec.from_text(self.row.spec or "")
        return None

    @property
    def goes_on(self) -> bool:
        return self.state in ("running", "stopping")

    @property
    def generated(self) -> int:
        """Answers that it has brought."""
        return int(self.report.get("generated", self.figures.answers if self.figures else 0))

    @property
    def cost_usd(self) -> str:
        """What it has paid, exactly."""
        return str(self.report.get("cost_usd") or (f"{usd(self.figures.cost_pico):f}" if self.figures else "0"))

    @property
    def cost(self) -> Decimal:
        """What it has paid, in US dollars."""
        return Decimal(self.cost_usd)

    @property
    def rate(self) -> str | None:
        """The rate of the last window, while it goes on and is known."""
        if self.figures is None or self.spec is None or not self.goes_on:
            return None
        return describe_rate(*self.used_of, self.spec.limits.window_seconds)

    @property
    def used_of(self) -> tuple[int, int]:
        """Requests sent in the last window, and how many may be: by its process, which knows of an operator's edits, else by the spec."""
        sent = self.figures.in_window if self.figures else 0
        return sent, self.note.allowed if self.note else self.spec.limits.max_requests if self.spec else 0

    @property
    def activity(self) -> str:
        """What it does, or what it waits for; empty where it does not go on."""
        if self.note is None or not self.goes_on:
            return ""
        queue = f" ({format_count(self.note.queue, 'request')} in the queue)" if self.note.queue else ""
        return f"{self.note.waiting or self.note.stage}{queue}"

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it has made what it is to make; None where nobody knows."""
        if self.note is None or self.note.seconds_left is None or not self.goes_on:
            return None
        return max(0.0, self.note.seconds_left - (self.at - self.note.at).total_seconds())

    @property
    def progress(self) -> str | None:
        """How far it is, in a line; None where it is over."""
        if self.figures is None or not self.goes_on:
            return None
        total = self.figures.done + self.figures.left
        budget = self.spec.budget.run_usd if self.spec else None
        spent = dollars(usd(self.figures.cost_pico)) + (f" of {dollars(budget)}" if budget is not None else "")
        failed = f", {self.figures.failed:,} failed" if self.figures.failed else ""
        return ", ".join(filter(None, [f"{self.figures.done:,} of {total:,} done{failed}", spent, self.rate]))

    def as_json(self) -> dict[str, Any]:
        row, figures = self.row, self.figures
        own = ("run_id", "dataset", "provider", "state", "message")
        live = {} if figures is None else {"generated": figures.answers, "failed": figures.failed, "cost_usd": self.cost_usd}
        going = (
            {}
            if figures is None or not self.goes_on
            else {"left": figures.left, "in_flight": figures.in_flight, "rate": self.rate, "activity": self.activity or None}
        )
        return {
            "run_id": row.id,
            "dataset": row.dataset,
            "provider": row.provider,
            "model": row.model,
            "state": self.state,
            "started_at": row.started_at.isoformat(timespec="seconds"),
            "finished_at": row.finished_at and row.finished_at.isoformat(timespec="seconds"),
            "message": self.message or None,
            **live,
            **going,
            **{key: value for key, value in self.report.items() if key not in own},
        }


def read_states(connection: Connection, rows: Iterable[Any], now: datetime) -> dict[str, str]:
    """The states of runs, by id, given their rows in the ledger: one whose process is gone has failed."""
    found = [*rows]
    going = {row.id: row.owner for row in found if row.state in ("running", "stopping")}
    living = list_living_owners(connection, [*going.values()], now) if going else set()
    return {row.id: "failed" if row.id in going and row.owner not in living else row.state for row in found}


def read_known_runs(connection: Connection, now: datetime, *, run: str | None = None, limit: int = 20) -> list[KnownRun]:
    """The newest runs, or those whose id begins with `run`."""
    rows = read_runs(connection, run=run, limit=limit)
    states = read_states(connection, rows, now)
    return [_read(connection, row, states[row.id], now, always=run is not None) for row in rows]


def _read(connection: Connection, row: Any, state: str, now: datetime, *, always: bool) -> KnownRun:
    report = json.loads(row.report) if row.report else {}
    message = row.message or "" if state == row.state else UNEXPECTED_END
    if state == "running":
        report, message = {}, ""  # of a part that was suspended: the figures are of all its parts
    found = KnownRun(row, report, state, message, None, _read_note(row.note, now), now)
    if not always and "cost_usd" in report:
        return found
    window = found.spec.limits.window_seconds if found.goes_on and found.spec else 60.0
    return replace(found, figures=read_run_figures(connection, row.id, row.dataset_id, now - timedelta(seconds=window)))


def _read_note(text: str | None, now: datetime) -> RunNote | None:
    """What a process has said; None for what is old, or was said by another version of this package."""
    with suppress(ValidationError):
        note = RunNote.model_validate_json(text or "")
        return note if now - note.at <= timedelta(seconds=NOTE_SECONDS) else None
    return None
