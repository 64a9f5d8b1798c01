"""`convoforge costs`: what was spent, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from convoforge.cli.console import facts, out, print_json
from convoforge.cli.findings import show_reasons
from convoforge.cli.parameters import DONE, AsJson, Simulated
from convoforge.models import Provider
from convoforge.periods import read_period
from convoforge.project import show_database
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.costs.summary import CostSummary

_RUN = 8
"""Characters of a run's id that are shown: `convoforge status` knows a run by how its id begins."""


def costs(
    *,
    since: Annotated[str | None, Parameter(name="--from", help="First day (YYYY-MM-DD) or moment, UTC.")] = None,
    until: Annotated[
        str | None, Parameter(name="--to", help="Last day (YYYY-MM-DD), or a moment that is no longer counted, UTC.")
    ] = None,
    by: Annotated[
        Literal["run", "dataset", "model", "template", "purpose", "day"] | None, Parameter(help="Group the figures.")
    ] = None,
    simulated: Simulated = False,
    as_json: AsJson = False,
) -> int:
    """Print the summary of a period."""
    from convoforge.costs.format import format_summary
    from convoforge.costs.period import Period
    from convoforge.costs.summary import cost_summary
    from convoforge.dataset.reasons import has_attempts, read_reasons
    from convoforge.ledger import Ledger

    start, end = read_period(since, until, ("--from", "--to"))
    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        provider: Provider = "simulator" if simulated else "anthropic"
        summary = ledger.read(cost_summary, start, end, by=by, provider=provider)
        imperfect = summary.attempts > summary.accepted
        reasons = ledger.read(read_reasons, Period(provider, start, end).match_attempts()) if imperfect else ()
        others = () if summary.attempts or simulated else (Period("simulator", start, end).match_attempts(),)
        simulated_alone = any(ledger.read(has_attempts, one) for one in others)
    if as_json:
        reasons_as_json = [one.as_json() for one in reasons]
        print_json({**summary.as_json(), "reasons": reasons_as_json, "ledger": show_database(settings.database_url)})
        return DONE
    if simulated:
        out.print("[yellow]Simulated: none of this was paid.[/yellow]")
    out.print(facts([*format_summary(summary), ("ledger", show_database(settings.database_url))]))
    if simulated_alone:
        out.print("\nNothing was paid. What was simulated is in: convoforge costs --simulated")
    if summary.groups:
        out.print()
        out.print(_table(by or "", summary.groups))
    if reasons:
        out.print("\n[bold]what was refused, failed or not accepted[/bold]\n")
        out.print(show_reasons(reasons))
    return DONE


def _table(by: str, groups: Mapping[str, CostSummary]) -> Table:
    """The groups, in 100 columns up to a million of everything."""
    from convoforge.costs.format import COLUMNS, format_groups

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(by, overflow="fold")
    for column in COLUMNS:
        table.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for name, *figures in format_groups(groups):
        table.add_row(escape(name[:_RUN] if by == "run" else name), *figures)
    return table
