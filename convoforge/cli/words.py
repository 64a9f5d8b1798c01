"""How things are printed: one console, one way to write money, tables that line up, one JSON line for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console(highlight=False, soft_wrap=True)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out = Console(highlight=False, soft_wrap=True, width=200)  # in a file or a pipe there is no edge to wrap at


def print_json(value: Any) -> None:
    """One JSON object on a line of its own."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, values on the right of them."""
    table = Table.grid(padding=(0, 3))
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", value)
    return table


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table with the first `left` columns to the left and figures to the right."""
    table = Table(box=None, header_style="bold", padding=(0, 2), show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def duration(seconds: float) -> str:
    """A time span for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
