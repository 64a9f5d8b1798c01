"""How findings of checks and reasons of runs are printed: what it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from convoforge.cli.console import name_options
from convoforge.finding import Finding, State
from convoforge.printable import printable_line
from convoforge.reasons import Reason

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


def show_reasons(reasons: Iterable[Reason]) -> Table:
    """A line for what happened, one for an example, one for what to do; each is wrapped at the terminal's edge."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for one in reasons:
        what, count, example, to_do = map(printable_line, one.row)
        name, _, own = example.partition(": ")
        table.add_row(Text(count, "bold"), Text(what, "bold"))
        table.add_row("", Text(f"for example {name if own == one.reason else example}", "dim"))
        table.add_row("", Text(f"→ {to_do}"))
    return table
