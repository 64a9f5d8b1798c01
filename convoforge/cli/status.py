"""`convoforge status` and `convoforge show`: runs and conversations, to be looked at."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.padding import Padding

from convoforge.cli import DONE
from convoforge.cli.console import facts, grid, out, print_json
from convoforge.dataset.status import plan_dataset, read_status
from convoforge.errors import ConfigError, nearest
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.message_batches import OpenBatch, list_open_batches, list_troubled_batches
from convoforge.ledger.requests import read_answers, read_conversation, read_draws
from convoforge.ledger.runs import find_dataset, list_datasets, read_runs
from convoforge.models import AnswerKind, Provider
from convoforge.planning.plan import Plan
from convoforge.planning.spec import ADHOC, DatasetSpec
from convoforge.planning.templates import Library
from convoforge.project import show_database
from convoforge.settings import Settings

_TROUBLED_SHOWN = 5
"""Maximum batches that are over and that are still told about."""


def find_plan(ledger: Ledger, settings: Settings, name: str, *, simulated: bool) -> tuple[Plan, int]:
    """The plan that a dataset was last built with, and its id. Where only simulated data has the name, that is meant."""
    if name == ADHOC:
        raise ConfigError(f"'{ADHOC}' holds single requests, which have no plan: `convoforge show {ADHOC}` prints them")
    known = ledger.read(list_datasets)
    providers: list[Provider] = ["simulator"] if simulated else ["anthropic", "simulator"]
    for provider in providers:
        row = ledger.read(find_dataset, name, provider)
        if row is not None and row.spec is not None:
            spec = DatasetSpec.from_text(row.spec)
            return plan_dataset(ledger, spec, Library.at(settings.config_dir), provider), int(row.id)
    what = "simulated dataset" if simulated else "dataset"
    names = {one for one, provider in known if provider in providers and one != name}
    if any(one == name and provider in providers for one, provider in known):
        raise ConfigError(
            f"no build of '{name}' has come far enough to keep its spec: build it again, or give the path of its spec"
        )
    elsewhere = " There is a real one: leave out --simulated." if any(one == name for one, _ in known) else ""
    raise ConfigError(f"the ledger knows no {what} '{name}'{nearest(name, names)}{elsewhere} Build it first.")


def show_dataset(name: str, *, limit: int, simulated: bool, rejected: bool, as_json: bool) -> int:
    """Print the first accepted conversations of a dataset; or the newest answers that were not accepted, each with its reason."""
    if rejected:
        return _show_rejected(name, limit=limit, simulated=simulated, as_json=as_json)
    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        provider, accepted = (_single_requests if name == ADHOC else _accepted)(ledger, settings, name, simulated=simulated)
        rows = ledger.read(lambda connection: list(read_answers(connection, accepted[:limit])))
    if as_json:
        print_json({"dataset": name, "provider": provider, "accepted": len(accepted), "rows": [_plain(r) for r in rows]})
        return DONE
    if provider == "simulator":
        out.print("[yellow]Simulated: a local simulator wrote these conversations.[/yellow]\n")
    for row in rows:
        _print_conversation(row)
    out.print(f"[dim]{len(rows)} of {len(accepted)} {'' if name == ADHOC else 'accepted '}conversations[/dim]")
    return DONE


def _show_rejected(name: str, *, limit: int, simulated: bool, as_json: bool) -> int:
    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        plan, dataset = find_plan(ledger, settings, name, simulated=simulated)
        found = {
            one.draw.request_id: one.reason for one in read_status(ledger, plan, dataset).rejected if one.draw.kind is not None
        }
        rows = ledger.read(lambda connection: list(read_answers(connection, [*reversed(found)][:limit])))
    if as_json:
        told = [{**_plain(row), "reason": found[row.id], "raw_text": row.raw_text} for row in rows]
        print_json({"dataset": name, "provider": plan.provider, "rejected": len(found), "rows": told})
        return DONE
    for row in rows:
        _print_conversation(row)
        out.print(f"[yellow]not accepted: {escape(found[row.id])}[/yellow]\n")
    out.print(f"[dim]{len(rows)} of {len(found)} answers that were not accepted[/dim]")
    return DONE


def _accepted(ledger: Ledger, settings: Settings, name: str, *, simulated: bool) -> tuple[Provider, list[int]]:
    """Who wrote a dataset, and its accepted requests."""
    plan, dataset = find_plan(ledger, settings, name, simulated=simulated)
    return plan.provider, [draw.request_id for draw in read_status(ledger, plan, dataset).accepted]


def _single_requests(ledger: Ledger, _settings: Settings, name: str, *, simulated: bool) -> tuple[Provider, list[int]]:
    """Who wrote, and the requests outside any dataset that brought a conversation, the latest first."""
    providers: list[Provider] = ["simulator"] if simulated else ["anthropic", "simulator"]
    for provider in providers:
        row = ledger.read(find_dataset, name, provider)
        if row is not None:
            draws = ledger.read(read_draws, int(row.id))
            return provider, sorted((draw.request_id for draw in draws if draw.kind == AnswerKind.OK), reverse=True)
    raise ConfigError("no single request yet: `convoforge generate` makes one")


def _plain(row: Any) -> dict[str, Any]:
    turns = read_conversation(row.turns, row.system).turns if row.turns else ()
    system = [{"role": "system", "content": row.system}] if row.system else []
    quality = read_quality(row.score, row.results)
    return {
        "conversation_id": row.conversation_id,
        "persona": row.persona,
        "emotion": row.emotion,
        "topic": row.topic,
        "tier": row.tier,
        "score": row.score,
        "scorers": [asdict(one) for one in quality.results] if quality else [],
        "messages": [*system, *({"role": turn.role, "content": turn.content} for turn in turns)],
    }


def _print_conversation(row: Any) -> None:
    out.print(
        f"[bold]{escape(row.persona)} · {escape(row.emotion)} · {escape(row.topic)} · {escape(row.tier)}[/bold]  score {row.score}"
    )
    colours = {"user": "cyan", "assistant": "green"}
    if row.turns is None:
        out.print(Padding(escape(row.raw_text or "(no text)"), (0, 2), expand=False), soft_wrap=False)
    for turn in read_conversation(row.turns, row.system).turns if row.turns else ():
        out.print(f"[{colours[turn.role]}]{turn.role}[/]")
        out.print(Padding(escape(turn.content), (0, 2), expand=False), soft_wrap=False)
    out.print()


def show_status(run: str | None, *, as_json: bool) -> int:
    """Print the latest runs, or one of them with everything about it."""
    where = show_database((settings := Settings()).database_url)
    with Ledger(settings.database_url) as ledger:
        rows = ledger.read(read_runs, run=run)
        batches = ledger.read(list_open_batches)
        over = ledger.read(list_troubled_batches, _TROUBLED_SHOWN)
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
    told = _batch(one)
    names = ("batch", "dataset", "provider", "run_id", "since", "requests")
    return [*(escape(str(told[name])) for name in names), told["last_look"] or "never", escape(told["api_status"] or "-")]


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
