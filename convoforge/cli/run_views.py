"""What `convoforge status` shows: the list of the latest runs, and one run with its cells, rate, spend and reasons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convoforge.cli.console import facts, name_options
from convoforge.cli.findings import show_reasons
from convoforge.cli.parameters import DONE, ENDED_SHORT, FAILED
from convoforge.dataset.cell_counts import CellCounts
from convoforge.errors import LedgerError, span
from convoforge.ledger import Ledger
from convoforge.ledger.message_batches import OpenBatch, list_open_batches, list_troubled_batches
from convoforge.ledger.owners import end_dead_runs
from convoforge.pricing import dollars
from convoforge.printable import printable_line
from convoforge.runs.known import KnownRun, read_known_runs
from convoforge.runs.snapshot import RunSnapshot, read_snapshot

_MAX_TROUBLED = 5
"""Maximum number of batches shown that ended with something wrong."""

_ID = 8
"""Characters of a run's id that are shown: enough to name it."""

_LONGEST_NAME = 22
"""Characters of a dataset's name in one line of the list; with it a line has 80 columns."""


class Overview:
    """The latest runs, and the message batches that are open or ended with something wrong."""

    exit_code = DONE

    def __init__(self, ledger: Ledger, where: str) -> None:
        self._ledger, self._where = ledger, where
        self._runs: list[KnownRun] = []
        self._batches: list[OpenBatch] = []
        self._over: list[OpenBatch] = []

    def refresh(self) -> None:
        _end_dead_runs(self._ledger)
        self._runs = self._ledger.read(read_known_runs, datetime.now(UTC))
        self._batches = self._ledger.read(list_open_batches)
        self._over = self._ledger.read(list_troubled_batches, _MAX_TROUBLED)

    @property
    def goes_on(self) -> bool:
        return any(one.goes_on for one in self._runs)

    @property
    def line(self) -> str:
        """The runs under way, in short."""
        return "; ".join(f"{one.row.id[:_ID]} {one.row.dataset}: {one.progress}" for one in self._runs if one.goes_on)

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": [one.as_json() for one in self._runs],
            "batches": [_batch(one) for one in self._batches],
            "batch_failures": [{**_batch(one), "given_up_at": None} for one in self._over],
            "ledger": self._where,
        }

    def render(self) -> RenderableType:
        """A line for each run, and one for what happened; then the batches."""
        return Group(*self._render())

    def _render(self) -> Iterator[RenderableType]:
        if not self._runs:
            yield Text("No runs yet: `convoforge build demo --simulate` makes one.")
            yield Text(f"ledger: {self._where}", "dim")
            return
        yield Text(f"ledger: {self._where}\n", "dim")
        width = min(max(len("dataset"), *(len(one.row.dataset) for one in self._runs)), _LONGEST_NAME)
        yield _row(["run", "dataset", "state", "started (UTC)", "made", "cost"], width, "bold")
        for one in self._runs:
            started, cost = _minute(one.row.started_at) or "", dollars(Decimal(one.cost_usd))
            yield _row([one.row.id[:_ID], one.row.dataset, one.state, started, f"{one.generated:,}", cost], width)
            simulated = "simulated" if one.row.provider == "simulator" else ""
            if text := ": ".join(filter(None, [simulated, one.progress or name_options(one.message)])):
                yield Padding(Text(printable_line(text), "dim"), (0, 0, 0, _ID + 2))
        if self._batches:
            yield Text("\nopen batches", "bold")
            yield from (Text(printable_line(_outlook(one))) for one in self._batches)
            yield Text("The next build of the dataset collects them, or the deployment collect-message-batches.", "dim")
        if self._over:
            yield Text("\nBatches that ended with something wrong:")
            yield from (Text(printable_line(f"  {one.dataset}: {one.seen.trouble}")) for one in self._over)


class OneRun:
    """One run with everything about it. Raises `ConfigError` where no run or several begin with what was given."""

    def __init__(self, ledger: Ledger, where: str, given: str) -> None:
        self._ledger, self._where, self._given = ledger, where, given
        self._seen: RunSnapshot

    def refresh(self) -> None:
        _end_dead_runs(self._ledger)
        self._seen = self._ledger.read(read_snapshot, self._given, datetime.now(UTC))
        self._given = self._seen.run.row.id

    @property
    def goes_on(self) -> bool:
        return self._seen.run.goes_on

    @property
    def line(self) -> str:
        """How far it is."""
        return self._seen.run.progress or ""

    @property
    def exit_code(self) -> int:
        """That of the build."""
        return {"failed": FAILED, "partial": ENDED_SHORT}.get(self._seen.run.state, DONE)

    def as_json(self) -> dict[str, Any]:
        return self._seen.as_json()

    def render(self) -> RenderableType:
        """Facts in words, then why something was not accepted."""
        parts: list[RenderableType] = [facts(self._describe())]
        if self._seen.reasons:
            parts += [Text("\nwhat was refused, failed or not accepted\n", "bold"), show_reasons(self._seen.reasons)]
        notes = self._seen.run.report.get("notes") or ()
        parts += [Text(printable_line(f"note: {note}"), "dim") for note in notes]
        return Group(*parts)

    def _describe(self) -> Iterator[tuple[str, str]]:
        run, row, report = self._seen.run, self._seen.run.row, self._seen.run.report
        simulated = " (simulated: nothing was paid)" if row.provider == "simulator" else ""
        yield "run", row.id
        yield "dataset", f"{row.dataset}, with {row.model}{simulated}"
        yield "state", ": ".join(filter(None, [run.state, run.progress or name_options(run.message)]))
        end = f", {span((row.finished_at - row.started_at).total_seconds())}" if row.finished_at else ""
        yield "started", f"{_minute(row.started_at)} UTC{end}"
        if cells := self._seen.cells:
            yield from _describe_cells(cells)
        yield "made in this run", f"{run.generated:,}"
        if run.activity:
            yield "now", run.activity
        yield "rate", run.rate or self._describe_rate()
        yield "spend", self._describe_spend()
        if report.get("version"):
            yield "version", f"{report['version']} ({'published by this run' if report.get('published') else 'unchanged'})"
            yield "where", str(report.get("path"))
        yield "ledger", self._where

    def _describe_rate(self) -> str:
        spec, figures = self._seen.run.spec, self._seen.run.figures
        limit = f"; at most {spec.limits.max_requests:,} requests in {spec.limits.window_seconds:g} s" if spec else ""
        if figures is None or figures.first_call is None or figures.last_end is None:
            return f"no calls{limit}"
        took = span((figures.last_end - figures.first_call).total_seconds())
        return f"{figures.calls:,} {'call' if figures.calls == 1 else 'calls'} in {took}{limit}"

    def _describe_spend(self) -> str:
        seen = self._seen
        return "".join(
            [
                dollars(Decimal(seen.run.cost_usd)),
                f" of {dollars(seen.budget_usd)}" if seen.budget_usd is not None else "",
                f"; estimated {dollars(seen.estimated_usd)}" if seen.estimated_usd else "",
                f"; at most {dollars(seen.maybe_usd)} more, for calls whose bill is not known" if seen.maybe_usd else "",
            ]
        )


def _describe_cells(cells: CellCounts) -> Iterator[tuple[str, str]]:
    yield "accepted", f"{cells.accepted:,} of {cells.wanted:,} planned"
    counts = {
        "need revision": cells.needs_revision,
        "dropped": cells.dropped,
        "refused": cells.refused,
        "pending": cells.pending,
    }
    if text := ", ".join(f"{count:,} {name}" for name, count in counts.items() if count):
        yield "not accepted", text
    yield "cells", f"{cells.full:,} of {cells.cells:,} full, {cells.short:,} short, {cells.exhausted:,} out of draws"
    for name, held in cells.shortest:
        yield "", f"{name}: {held}"


def _end_dead_runs(ledger: Ledger) -> None:
    with suppress(LedgerError):  # of a ledger that only may be read
        ledger.write(end_dead_runs, datetime.now(UTC))


def _row(cells: list[str], width: int, style: str = "") -> Table:
    """A line of the list: what is to be copied stands whole in one line."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for size in (_ID, width, 9, 16):
        table.add_column(width=size, no_wrap=size == _ID, overflow="fold")
    for size in (6, 9):
        table.add_column(width=size, justify="right", overflow="fold")
    table.add_row(*(Text(printable_line(cell), style) for cell in cells))
    return table


def _batch(one: OpenBatch) -> dict[str, Any]:
    return {
        "batch": one.api_id or "not confirmed yet",
        "dataset": one.dataset,
        "provider": one.provider,
        "run_id": one.run_id[:_ID],
        "since": _minute(one.created_at),
        "requests": one.requests,
        "last_look": _minute(one.seen.looked_at),
        "api_status": one.seen.api_status,
        "trouble": one.seen.trouble,
        "given_up_at": _minute(one.seen.given_up_at),
    }


def _outlook(one: OpenBatch) -> str:
    """What is to be expected of a batch: what was wrong at the last look, and how long it is waited for."""
    seen = one.seen
    simulated = " (simulated)" if one.provider == "simulator" else ""
    name = (
        f"{one.api_id or f'batch {one.id[:_ID]}'}: {one.requests:,} requests of {one.dataset}{simulated}, run {one.run_id[:_ID]}, "
        f"since {_minute(one.created_at)} UTC"
    )
    if seen.looked_at is None:
        return f"{name}; nobody has looked at it yet"
    look = f"{name}; last look {_minute(seen.looked_at)} UTC, {seen.api_status or 'no state'}"
    if seen.trouble is None:
        return f"{look}: the API works on it"
    last = f"; its requests are asked again after {_minute(seen.given_up_at)} UTC if that goes on" if seen.given_up_at else ""
    return f"{look}: {seen.trouble}{last}"


def _minute(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(sep=" ", timespec="minutes")[:16]
