"""`convoforge status`: the latest runs and message batches, or all about one run; with `--watch` again and again until it is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.live import Live

from convoforge.cli.console import out, print_json
from convoforge.cli.parameters import DONE, AsJson
from convoforge.project import show_database
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.cli.run_views import OneRun, Overview

WATCH_SECONDS = 2.0
"""Seconds between two looks with `--watch`."""


def status(
    run: Annotated[str | None, Parameter(help="A run's id, or how it begins.")] = None,
    /,
    *,
    watch: Annotated[bool, Parameter(negative="", help="Look again every 2 s, until what is shown is over.")] = False,
    as_json: AsJson = False,
) -> int:
    """Print the latest runs, or one of them with everything about it.

    With `--watch` and a run the exit code is the run's: 0 done, 1 failed, 3 ended short.
    """
    from convoforge.cli.run_views import OneRun, Overview
    from convoforge.ledger import Ledger

    settings = Settings()
    where = show_database(settings.database_url)
    with Ledger(settings.database_url) as ledger:
        view = Overview(ledger, where) if run is None else OneRun(ledger, where, run)
        view.refresh()
        if watch:
            _watch(view, as_json=as_json)
        if as_json:
            print_json(view.as_json())
        elif not (watch and out.is_terminal):
            out.print(view.render())
    return view.exit_code if watch else DONE


def _watch(view: Overview | OneRun, *, as_json: bool) -> None:
    """Look until nothing goes on: in place at a terminal, else with a line whenever something has changed."""
    if out.is_terminal and not as_json:
        with Live(view.render(), console=out, auto_refresh=False) as live:
            while view.goes_on:
                time.sleep(WATCH_SECONDS)
                view.refresh()
                live.update(view.render(), refresh=True)
        return
    shown = ""
    while view.goes_on:
        if not as_json and view.line != shown:
            out.print(shown := view.line, markup=False)
        time.sleep(WATCH_SECONDS)
        view.refresh()
