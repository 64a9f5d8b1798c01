"""`convoforge errors`: what was refused, failed or not accepted, and what to do about it; of a run or of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from convoforge.cli.console import name_options, out, print_json
from convoforge.cli.findings import show_reasons
from convoforge.cli.parameters import DONE, AsJson, Simulated
from convoforge.errors import ConfigError
from convoforge.models import Provider
from convoforge.project import show_database
from convoforge.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from convoforge.ledger import Ledger


def errors(
    run: Annotated[
        str | None, Parameter(help="A run's id or how it begins, or a dataset's name. Without it: the latest run.")
    ] = None,
    /,
    *,
    simulated: Simulated = False,
    as_json: AsJson = False,
) -> int:
    """Print each reason with how often it was met, an example, and what to do."""
    from convoforge.dataset.reasons import has_attempts, read_reasons
    from convoforge.ledger import Ledger

    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        about, which = _find(ledger, run, simulated=simulated)
        reasons = () if which is None else ledger.read(read_reasons, which)
        called = which is not None and ledger.read(has_attempts, which)
    if as_json:
        print_json({**about, "reasons": [one.as_json() for one in reasons], "ledger": show_database(settings.database_url)})
        return DONE
    if which is None:
        out.print("No runs yet: `convoforge build demo --simulate` makes one.")
        return DONE
    state = about["message"] and f"{about['state']}: {name_options(about['message'])}"
    name = f"run {about['run_id'][:8]} of {about['dataset']}" if about["run_id"] else f"dataset {about['dataset']}, all runs"
    head = f"[bold]{escape(name)}[/bold]{' (simulated)' if about['provider'] == 'simulator' else ''}"
    out.print(f"{head}{escape(f', {state}') if state else ''}\n")
    if reasons:
        out.print(show_reasons(reasons))
    else:
        out.print("No call failed, and every answer is accepted." if called else "No call was made.")
    return DONE


def _find(ledger: Ledger, given: str | None, *, simulated: bool) -> tuple[dict[str, Any], ColumnElement[bool] | None]:
    """What is meant, and which attempts that is. Raises `ConfigError` where it is nothing, or more than one."""
    from convoforge.dataset.reasons import has_attempts, of_dataset, of_run
    from convoforge.ledger.runs import find_dataset, read_runs

    providers: list[Provider] = ["simulator"] if simulated else ["anthropic", "simulator"]
    about = {"run_id": None, "dataset": given, "provider": None, "state": None, "message": None}
    if given is not None:
        held = [row for provider in providers if (row := ledger.read(find_dataset, given, provider)) is not None]
        if held:  # a real build that failed before it began left a row, but has nothing to tell
            row = next((row for row in held if ledger.read(has_attempts, of_dataset(int(row.id)))), held[0])
            return about | {"provider": row.provider}, of_dataset(int(row.id))
    rows = ledger.read(read_runs, run=given, limit=2 if given else 1)
    if given is None and not rows:
        return about, None
    if len(rows) != 1:
        known = f"{'several' if rows else 'no'} runs begin with '{given}', and no dataset has this name"
        raise ConfigError(f"{known}: `convoforge status` lists the runs")
    own = rows[0]
    found = {"run_id": own.id, "dataset": own.dataset, "provider": own.provider, "state": own.state, "message": own.message}
    return about | found, of_run(own.id)
