"""`convoforge review`: a person reads conversations and decides on them; files of other tools, in and out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape

from convoforge.cli.console import facts, out, print_json, show_progress
from convoforge.cli.parameters import DONE, AsJson, Positive, Simulated
from convoforge.dataset.find_plan import find_plan
from convoforge.errors import ConfigError, format_count
from convoforge.review import DEFAULT_SAMPLE, ReviewFormat
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.ledger import Ledger
    from convoforge.planning.plan import Plan
    from convoforge.review.agreement import ReviewSummary
    from convoforge.review.choosing import Queue, Reviewable, Sample


def review(
    dataset: Annotated[str, Parameter(help="The name of a dataset.")],
    /,
    *,
    sample: Annotated[
        str,
        Parameter(
            help="What to look at: all (what needs revision first, then what is near the threshold), borderline (just below the "
            "threshold and just at it), disagreements (of judge and rules), rejected, random:N (N of each value of each axis)."
        ),
    ] = DEFAULT_SAMPLE,
    again: Annotated[bool, Parameter(negative="", help="Also what only others have reviewed: a second opinion.")] = False,
    limit: Annotated[int | None, Positive, Parameter(help="Maximum number of conversations.")] = None,
    reviewer: Annotated[str | None, Parameter(help="Who decides. Without it: the name you are logged in with.")] = None,
    export: Annotated[
        Path | None, Parameter(help="Write the conversations and their reviews to this file, and review nothing.")
    ] = None,
    read: Annotated[Path | None, Parameter(name="--import", help="Read decisions from this file: all of them, or none.")] = None,
    kind: Annotated[ReviewFormat, Parameter(name="--format", help="The format of the file.")] = "plain",
    simulated: Simulated = False,
    as_json: AsJson = False,
) -> int:
    """Read conversations, one at a time, and accept, reject, send back or edit them: the next build or `publish` follows. Goes on where you
    stopped. `--json` prints what there is to review, and how far reviewers agree."""
    from convoforge.ledger import Ledger
    from convoforge.review.agreement import read_summary
    from convoforge.review.choosing import Sample, choose

    chosen, who, settings = Sample.parse(sample), reviewer or _find_name(), Settings()
    if export is not None and read is not None:
        raise ConfigError("--export and --import are two things: do one after the other")
    with Ledger(settings.database_url) as ledger:
        plan, dataset_id = find_plan(ledger, settings, dataset, simulated=simulated)
        if read is not None:
            return _import(ledger, plan, dataset_id, read, kind, who, as_json=as_json)
        queue = choose(ledger, plan, dataset_id, chosen, reviewer=who, again=again).cut(limit)
        if export is not None:
            return _export(ledger, plan, (*queue.todo, *queue.done)[:limit], kind, export, as_json=as_json)
        if as_json:
            _print_queue(ledger, plan, dataset_id, queue, chosen, who)
            return DONE
        if not queue.todo:
            out.print(f"Nothing to review in '{chosen}'{'' if again else ': --again shows what others have reviewed'}.")
        else:
            _ask(ledger, plan, queue, who, simulated=plan.provider == "simulator")
        _print_summary(read_summary(ledger, dataset_id))
    return DONE


def _ask(ledger: Ledger, plan: Plan, queue: Queue, reviewer: str, *, simulated: bool) -> None:
    from convoforge.cli.review_keys import ReviewSession, read_key

    if not sys.stdin.isatty():
        raise ConfigError(
            "reviewing reads keys from a terminal, and there is none: --json prints what there is to review, "
            "--export and --import exchange it with other tools"
        )
    if simulated:
        out.print("[yellow]Simulated: a local simulator wrote these conversations.[/yellow]\n")
    ReviewSession(ledger, plan, queue, reviewer, read_key, lambda: datetime.now(UTC)).run()


def _print_queue(ledger: Ledger, plan: Plan, dataset_id: int, queue: Queue, sample: Sample, reviewer: str) -> None:
    from convoforge.review.agreement import read_summary
    from convoforge.review.items import read_items

    print_json(
        {
            "dataset": plan.spec.name,
            "provider": plan.provider,
            "sample": str(sample),
            "reviewer": reviewer,
            "todo": len(queue.todo),
            "done": len(queue.done),
            "queue": [item.describe() for item in read_items(ledger, queue.todo)],
            **read_summary(ledger, dataset_id).as_json(),
        }
    )


def _print_summary(summary: ReviewSummary) -> None:
    from convoforge.cli.review_keys import describe_decisions

    if summary.decisions:
        total = sum(summary.decisions.values())
        out.print(f"[dim]{format_count(total, 'conversation')} reviewed: {describe_decisions(summary.decisions)}[/dim]")
    for one in summary.pairs:
        both = format_count(one.agreement.pairs, "conversation")
        out.print(f"[dim]{escape(one.first)} and {escape(one.second)}, {both} of both: {one.agreement}[/dim]")


def _export(
    ledger: Ledger, plan: Plan, reviewables: Sequence[Reviewable], kind: ReviewFormat, path: Path, *, as_json: bool
) -> int:
    from convoforge.review.exchange import export_queue

    steps = export_queue(ledger, reviewables, plan.spec.name, kind, path)
    show_progress(steps, len(reviewables), "conversations", quiet=as_json)
    if as_json:
        about = {"dataset": plan.spec.name, "provider": plan.provider, "format": kind}
        print_json({**about, "path": str(path), "conversations": len(reviewables)})
    else:
        out.print(facts([("written", f"{format_count(len(reviewables), 'conversation')}, format {kind}"), ("path", str(path))]))
    return DONE


def _import(ledger: Ledger, plan: Plan, dataset_id: int, path: Path, kind: ReviewFormat, reviewer: str, *, as_json: bool) -> int:
    from convoforge.review.exchange import import_reviews

    found = import_reviews(ledger, dataset_id, path, kind, reviewer=reviewer, now=datetime.now(UTC))
    if as_json:
        about = {"dataset": plan.spec.name, "provider": plan.provider, "format": kind, "path": str(path)}
        print_json({**about, "imported": found.new, "known": found.known, "undecided": found.undecided})
    else:
        rows = [
            ("imported", format_count(found.new, "decision")),
            ("known already", f"{found.known:,}"),
            ("undecided", format_count(found.undecided, "record")),
        ]
        out.print(facts(rows))
        if found.new:
            out.print(f"[dim]next: convoforge publish {plan.spec.name}[/dim]")
    return DONE


def _find_name() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return "reviewer"
