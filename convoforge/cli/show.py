"""`convoforge show`: conversations of a dataset, to be read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.padding import Padding

from convoforge.cli.console import out, print_json, print_turns
from convoforge.cli.parameters import DONE, AsJson, Positive, Simulated
from convoforge.dataset.find_plan import find_plan
from convoforge.errors import ConfigError
from convoforge.models import AnswerKind, Provider
from convoforge.planning.spec import ADHOC
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.ledger import Ledger


def show(
    dataset: Annotated[str, Parameter(help="The name of a dataset.")],
    /,
    *,
    limit: Annotated[int, Positive, Parameter(help="How many conversations.")] = 3,
    rejected: Annotated[bool, Parameter(help="The newest that were not accepted, with the reasons.")] = False,
    simulated: Simulated = False,
    as_json: AsJson = False,
) -> int:
    """Print the first accepted conversations of a dataset; or the newest answers that were not accepted, each with its reason."""
    from convoforge.dataset.status import read_status
    from convoforge.ledger import Ledger
    from convoforge.ledger.answers import read_answers

    settings = Settings()
    reasons: dict[int, str] = {}
    with Ledger(settings.database_url) as ledger:
        if dataset == ADHOC and not rejected:
            provider, found = _find_single_requests(ledger, simulated=simulated)
        else:
            plan, dataset_id = find_plan(ledger, settings, dataset, simulated=simulated)
            status, provider = read_status(ledger, plan, dataset_id), plan.provider
            reasons = {one.draw.request_id: one.reason for one in status.rejected if one.draw.kind is not None}
            found = [*reversed(reasons)] if rejected else [draw.request_id for draw in status.accepted]
        rows = ledger.read(lambda connection: list(read_answers(connection, found[:limit])))
    if as_json:
        plain = [_plain(row) | ({"reason": reasons[row.id], "raw_text": row.raw_text} if rejected else {}) for row in rows]
        counted = "rejected" if rejected else "accepted"
        print_json({"dataset": dataset, "provider": provider, counted: len(found), "rows": plain})
        return DONE
    if provider == "simulator":
        out.print("[yellow]Simulated: a local simulator wrote these conversations.[/yellow]\n")
    for row in rows:
        _print_conversation(row)
        if rejected:
            out.print(f"[yellow]not accepted: {escape(reasons[row.id])}[/yellow]\n")
    what = "answers that were not accepted" if rejected else "conversations" if dataset == ADHOC else "accepted conversations"
    out.print(f"[dim]{len(rows)} of {len(found)} {what}[/dim]")
    return DONE


def _find_single_requests(ledger: Ledger, *, simulated: bool) -> tuple[Provider, list[int]]:
    """Who wrote, and the requests outside any dataset that brought a conversation, the latest first."""
    from convoforge.ledger.requests import read_draws
    from convoforge.ledger.runs import find_dataset

    providers: list[Provider] = ["simulator"] if simulated else ["anthropic", "simulator"]
    for provider in providers:
        row = ledger.read(find_dataset, ADHOC, provider)
        if row is not None:
            draws = ledger.read(read_draws, int(row.id))
            return provider, sorted((draw.request_id for draw in draws if draw.kind == AnswerKind.OK), reverse=True)
    raise ConfigError("no single request yet: `convoforge generate` makes one")


def _plain(row: Any) -> dict[str, Any]:
    from convoforge.ledger.answers import read_published
    from convoforge.ledger.attempts import read_quality

    turns = read_published(row).turns if row.turns else ()
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
        "edited": row.edited is not None,
        "messages": [*system, *({"role": turn.role, "content": turn.content} for turn in turns)],
    }


def _print_conversation(row: Any) -> None:
    from convoforge.ledger.answers import read_published

    edited = "  [dim]edited in review[/dim]" if row.edited else ""
    out.print(
        f"[bold]{escape(row.persona)} · {escape(row.emotion)} · {escape(row.topic)} · {escape(row.tier)}[/bold]  score {row.score}{edited}"
    )
    if row.turns is None:
        out.print(Padding(escape(row.raw_text or "(no text)"), (0, 2), expand=False), soft_wrap=False)
    else:
        print_turns(read_published(row).turns)
    out.print()
