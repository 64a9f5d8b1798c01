"""What `convoforge build` shows: what it will do and cost, how far it is, and what came of it."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from importlib.util import find_spec
from textwrap import indent
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from convoforge.cli.console import behind, errors, facts, name_options, out, print_notes
from convoforge.errors import format_count, span
from convoforge.planning.options import BuildOptions
from convoforge.pricing import dollars

if TYPE_CHECKING:
    from convoforge.dataset.forecast import Forecast
    from convoforge.orchestration.build_run import Progress
    from convoforge.tasks.report import BuildReport

PLAIN_SECONDS = 5.0
"""Seconds between two lines of progress where there is no terminal to draw on."""


async def show_build() -> None:
    """Show how far the build of this process is, until cancelled."""
    from convoforge.orchestration.build_run import watch_progress

    if not errors.is_terminal:
        while True:
            await asyncio.sleep(PLAIN_SECONDS)
            if (now := watch_progress()) is not None:
                errors.print(_line(now), markup=False)
    with Live(console=errors, transient=True, auto_refresh=False) as live:
        while True:
            if (now := watch_progress()) is not None:
                live.update(_panel(now), refresh=True)
            await asyncio.sleep(0.25)


def _panel(now: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, now.todo), completed=now.done, width=40)
    left = f"{span(now.seconds_left)} left" if now.seconds_left is not None and now.done < now.todo else ""
    table.add_row(bar, f"{now.done:,} of {now.todo:,} done", left)
    table.add_row(
        f"[green]{now.accepted:,} accepted[/]  {f'{now.unjudged:,} wait for the judge  ' if now.unjudged else ''}"
        f"[yellow]{now.needs_revision:,} need revision[/]  "
        f"[dim]{now.dropped:,} dropped[/]  [red]{now.failed:,} failed[/]",
        _money(now),
        now.rate,
    )
    stopping = now.stopped and f"stopping: {now.stopped}; waiting for {format_count(now.in_flight, 'call')} in flight"
    table.add_row(f"[dim]{escape(stopping or now.waiting or now.stage)}[/]", "", "")
    return table


def _line(now: Progress) -> str:
    stage = f"stopping: {now.stopped}" if now.stopped else now.waiting or now.stage
    return (
        f"{now.done:,}/{now.todo:,} done, {now.accepted:,} accepted, {now.needs_revision:,} need revision, {now.failed:,} failed, "
        f"{f'{now.unjudged:,} wait for the judge, ' if now.unjudged else ''}"
        f"{_money(now)}, {now.rate}, {stage}"
    )


def _money(now: Progress) -> str:
    return f"{dollars(now.cost_usd)} of {dollars(now.budget_usd)}" if now.budget_usd is not None else dollars(now.cost_usd)


def announce_build(seen: Forecast, options: BuildOptions, remarks: tuple[str, ...]) -> None:
    """Print what a build will do and cost."""
    plan, budget = seen.plan, seen.plan.spec.budget.run_usd
    planned, accepted = format_count(plan.planned, "conversation"), len(seen.status.accepted)
    out.print(f"[bold]{plan.spec.name}[/bold]: {planned} planned, {accepted:,} accepted already.")
    simulated = ", if it were not simulated" if plan.provider == "simulator" else ""
    if seen.missing:
        stale = f", {format_count(len(seen.stale), 'stale one')} among them" if options.refresh and seen.stale else ""
        out.print(
            f"{seen.missing:,} to generate with {escape(plan.spec.model)}{stale}: {seen.costs.cost}{simulated}"
            + (f"; this run may spend {dollars(budget)}." if budget is not None else ".")
        )
    judge = seen.costs.judge
    if judge is not None and judge.requests:
        out.print(f"To judge: {escape(judge.describe(plan.spec.mode))}{', part of that' if seen.missing else simulated}.")
    if seen.stale and not options.refresh:
        out.print(f"{format_count(len(seen.stale), 'is', 'are')} stale; --refresh would regenerate that for {seen.refresh.cost}.")
    print_notes(plan.notes, [*remarks, *list_warnings(seen)])


def list_warnings(seen: Forecast) -> list[str]:
    """What somebody should know before a build, what leaves the dataset first."""
    return [*([str(seen.stranded)] if seen.stranded.conversations else []), *seen.warnings]


def summarize_build(report: BuildReport) -> None:
    """Print what came of a build, and how to load it."""
    from convoforge.publish.card import loading
    from convoforge.tasks.run_page import compare_with_estimate

    simulated = report.provider == "simulator"
    cost = dollars(Decimal(report.cost_usd)) + (
        " (what it would have cost; it was simulated and nothing was paid)" if simulated else ""
    )
    message = name_options(report.message)
    if report.generated == 0 and not report.published and report.state == "completed":
        out.print(f"[bold]Nothing to do:[/bold] {escape(message)}. Nothing was generated, paid or published.")
    else:
        out.print(f"[bold]{escape(message[:1].upper() + message[1:])}.[/bold]")
    what = "published now" if report.published else "unchanged"
    out.print(
        facts(
            [
                ("made", f"{format_count(report.generated, 'conversation')} in {span(report.seconds)}"),
                ("accepted", f"{report.accepted:,} of {report.planned:,} planned"),
                (
                    "not accepted",
                    f"{report.needs_revision:,} need revision, {report.dropped:,} dropped, {report.pending:,} pending",
                ),
                ("cost", cost),
                *(
                    [("  the judge", f"{dollars(Decimal(report.judge_cost_usd))} of it, {report.judged:,} answers")]
                    if report.judge_cost_usd
                    else []
                ),
                *compare_with_estimate(report),
                ("version", f"{report.version} ({what})" if report.version else "none yet: nothing is accepted"),
                *behind(report.version, report.latest_version),
                ("where", report.path or "-"),
                *([("report", f"{report.path}/report.html")] if report.path else []),
            ]
        )
    )
    print_notes(report.notes)
    if report.load_path:
        needs = "" if find_spec("datasets") else f", after {sys.executable} -m pip install datasets"
        out.print(f"\nLoad it{escape(needs)}:\n")
        out.print(indent(loading(report.load_path, next(iter(report.splits)), "rows"), "    "), markup=False)
        if simulated:
            out.print("\n[yellow]A simulator wrote these conversations: look at them, do not train on them.[/yellow]")
    if report.needs_revision or report.dropped or report.failed:
        which = report.run_id[:8] if report.generated or report.failed else report.dataset
        out.print(f"\n`convoforge errors {which}` says why each was not accepted or failed, and what to do.")
    if report.state in ("partial", "failed") and report.generated:
        out.print("\nThe next build goes on from here; nothing is paid twice.")
