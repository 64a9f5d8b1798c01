"""`convoforge status`: the latest runs and message batches, or all about one run."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from convoforge.cli.console import facts, grid, out, print_json
from convoforge.cli.parameters import DONE, AsJson
from convoforge.errors import ConfigError, LedgerError
from convoforge.project import show_database
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.ledger.message_batches import OpenBatch

_MAX_TROUBLED = 5
"""Maximum number of batches shown that ended with something wrong."""


def status(
    run: Annotated[str | None, Parameter(help="A run's id, or how it begins.")] = None, /, *, as_json: AsJson = False
) -> int:
    """Print the latest runs, or one of them with everything about it."""
    from convoforge.ledger import Ledger
    from convoforge.ledger.message_batches import list_open_batches, list_troubled_batches
    from convoforge.ledger.owners import end_dead_runs
    from convoforge.ledger.runs import read_runs

    where = show_database((settings := Settings()).database_url)
    with Ledger(settings.database_url) as ledger:
        with suppress(LedgerError):  # of a ledger that only may be read
            ledger.write(end_dead_runs, datetime.now(UTC))
        rows = ledger.read(read_runs, run=run)
        batches = ledger.read(list_open_batches)
        over = ledger.read(list_troubled_batches, _MAX_TROUBLED)
    if run is not None and len(rows) != 1:
        raise ConfigError(f"{len(rows) or 'no'} runs begin with '{run}': `convoforge status` lists them")
    if as_json:
        print_json(
            {
                "runs": [_run(row) for row in rows],
                "batches": [_batch(one) for one in batches],
                "batch_failures": [{**_batch(one), "given_up_at": None} for one in over],
                "ledger": where,
            }
            if run is None
            else _run(rows[0])
        )
        return DONE
    if run is not None:
        report = _run(rows[0])
        out.print(facts((key, str(value)) for key, value in report.items() if key != "notes"))
        return DONE
    if not rows:
        out.print("No runs yet: `convoforge build demo --simulate` makes one.")
        out.print(f"[dim]ledger: {escape(where)}[/dim]")
        return DONE
    out.print(f"[dim]ledger: {escape(where)}[/dim]\n")
    columns = ["run", "dataset", "provider", "state", "started", "generated", "cost", "what happened"]
    out.print(grid(columns, (_line(_run(row)) for row in rows), left=5))
    if batches:
        out.print()
        columns = ["open batch", "dataset", "provider", "run", "since", "requests", "last look", "state there"]
        out.print(grid(columns, (_cells(one) for one in batches), left=5))
        for one in batches:
            out.print(f"[dim]{escape(_outlook(one))}[/dim]", soft_wrap=True)
        out.print("[dim]The next build of the dataset collects them, or the deployment collect-message-batches.[/dim]")
    if over:
        out.print("\nBatches that ended with something wrong:")
        for one in over:
            out.print(f"  {escape(one.dataset)}: {escape(one.seen.trouble or '')}", soft_wrap=True)
    return DONE


def _batch(one: OpenBatch) -> dict[str, Any]:
    return {
        "batch": one.api_id or "not confirmed yet",
        "dataset": one.dataset,
        "provider": one.provider,
        "run_id": one.run_id[:8],
        "since": _minute(one.created_at),
        "requests": one.requests,
        "last_look": _minute(one.seen.looked_at),
        "api_status": one.seen.api_status,
        "trouble": one.seen.trouble,
        "given_up_at": _minute(one.seen.given_up_at),
    }


def _cells(one: OpenBatch) -> list[str]:
    shown = _batch(one)
    names = ("batch", "dataset", "provider", "run_id", "since", "requests")
    return [*(escape(str(shown[name])) for name in names), shown["last_look"] or "never", escape(shown["api_status"] or "-")]


def _outlook(one: OpenBatch) -> str:
    """What is to be expected of a batch: what was wrong at the last look, and how long it is waited for."""
    seen, name = one.seen, one.api_id or f"batch {one.id[:8]}"
    if seen.looked_at is None:
        return f"{name}: nobody has looked at it yet"
    if seen.trouble is None:
        return f"{name}: the API works on it"
    last = f"; its requests are asked again after {_minute(seen.given_up_at)} UTC if that goes on" if seen.given_up_at else ""
    return f"{name}: {seen.trouble}{last}"


def _minute(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(sep=" ", timespec="minutes")[:16]


def _run(row: Any) -> dict[str, Any]:
    report = json.loads(row.report) if row.report else {}
    return {
        "run_id": row.id,
        "dataset": row.dataset,
        "provider": row.provider,
        "model": row.model,
        "state": row.state,
        "started_at": row.started_at.isoformat(timespec="seconds"),
        "finished_at": row.finished_at and row.finished_at.isoformat(timespec="seconds"),
        "message": row.message,
        **{key: value for key, value in report.items() if key not in ("run_id", "dataset", "provider", "state", "message")},
    }


def _line(run: dict[str, Any]) -> list[str]:
    cost = run.get("cost_usd")
    return [
        run["run_id"][:8],
        run["dataset"],
        run["provider"],
        run["state"],
        run["started_at"][:16].replace("T", " "),
        str(run.get("generated", "-")),
        f"${cost}" if cost else "-",
        run["message"] or "",
    ]
