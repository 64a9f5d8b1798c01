"""`convoforge doctor`: the configuration as it is, against what production needs; each line green, or with what to do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from convoforge.cli.console import out, print_json
from convoforge.cli.parameters import DONE, FAILED, AsJson
from convoforge.orchestration.local_server import stop_server
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.checks.finding import Finding

MARKS = {"good": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "bad": "[red]✗[/red]"}


def doctor(
    *,
    stop: Annotated[
        bool,
        Parameter(name="--stop-server", negative="", help="Only stop the local Prefect server that waits for the next build."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Look at all that a run needs, and say what to do where something is missing. Nothing is changed, paid or started."""
    if stop:
        return _stop_server(as_json=as_json)
    from convoforge.checks import run_checks

    findings = []
    for one in run_checks(Settings(), datetime.now(UTC)):
        findings.append(one)
        if not as_json:
            out.print(_show(one))
    counts = {state: sum(one.state == state for one in findings) for state in MARKS}
    if as_json:
        print_json({"findings": [asdict(one) for one in findings], **counts})
    else:
        out.print(f"\n{counts['good']} good, {counts['warning']} to know, {counts['bad']} to mend")
    return FAILED if counts["bad"] else DONE


def _show(one: Finding) -> Table:
    """A finding, wrapped beside the name of its check, and below it what to do."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for width in (1, 14, None):
        table.add_column(width=width, overflow="fold")
    table.add_row(MARKS[one.state], f"[bold]{one.check}[/bold]", escape(one.what))
    if one.todo:
        table.add_row("", "", f"[yellow]→ {escape(one.todo)}[/yellow]")
    return table


def _stop_server(*, as_json: bool) -> int:
    ended = stop_server()
    if as_json:
        print_json({"server": ended})
    else:
        words = {"stopped": "stopped", "in use": "a build uses the server, which ends with it", "none": "no server of ours runs"}
        out.print(words[ended])
    return DONE
