"""`convoforge costs`: what was spent, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from convoforge.cli import DONE
from convoforge.cli.console import facts, out, print_json
from convoforge.costs.format import COLUMNS, format_groups, format_summary
from convoforge.costs.summary import CostSummary, GroupBy, cost_summary
from convoforge.ledger import Ledger
from convoforge.periods import read_period
from convoforge.project import show_database
from convoforge.settings import Settings

_RUN = 8
"""Characters of a run's id that are shown: `convoforge status` knows a run by how its id begins."""


def show_costs(since: str | None, until: str | None, by: GroupBy | None, *, simulated: bool, as_json: bool) -> int:
    """Print the summary of a period."""
    start, end = read_period(since, until, ("--from", "--to"))
    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        summary = ledger.read(cost_summary, start, end, by=by, provider="simulator" if simulated else "anthropic")
    if as_json:
        print_json({**summary.as_json(), "ledger": show_database(settings.database_url)})
        return DONE
    if simulated:
        out.print("[yellow]Simulated: none of this was paid.[/yellow]")
    out.print(facts([*format_summary(summary), ("ledger", show_database(settings.database_url))]))
    if summary.groups:
        out.print()
        out.print(_table(by or "", summary.groups))
    return DONE


def _table(by: str, groups: Mapping[str, CostSummary]) -> Table:
    """The groups, in 100 columns up to a million of everything."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(by, overflow="fold")
    for column in COLUMNS:
        table.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for name, *figures in format_groups(groups):
        table.add_row(escape(name[:_RUN] if by == "run" else name), *figures)
    return table
