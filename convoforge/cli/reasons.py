"""Reasons as a person reads them: how often, what happened, one example, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from convoforge.printable import printable_line
from convoforge.reasons import Reason


def make_table(reasons: Iterable[Reason]) -> Table:
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
