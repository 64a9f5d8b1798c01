"""How findings are printed: a mark, the name of the check, what it is, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from convoforge.cli.console import name_options
from convoforge.finding import Finding, State

_MARKS: dict[State, str] = {"good": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "bad": "[red]✗[/red]"}


def show_finding(one: Finding) -> Table:
    """A finding, wrapped beside the name of its check, and below it what to do."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for width in (1, 14, None):
        table.add_column(width=width, overflow="fold")
    table.add_row(_MARKS[one.state], f"[bold]{one.check}[/bold]", escape(one.what))
    if one.todo:
        table.add_row("", "", f"[yellow]→ {escape(name_options(one.todo))}[/yellow]")
    return table


def count_findings(findings: Sequence[Finding]) -> dict[State, int]:
    """How many there are of each state."""
    return {state: sum(one.state == state for one in findings) for state in _MARKS}
