"""`convoforge publish`: a version from what the ledger holds. Pays nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from convoforge.cli.console import behind, facts, grid, out, print_json, print_notes
from convoforge.cli.parameters import DONE, FAILED, AsJson, Simulated
from convoforge.dataset.find_plan import find_any_plan
from convoforge.models import Status
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.ledger import Ledger
    from convoforge.planning.plan import Plan


def publish(
    dataset: Annotated[str, Parameter(help="The name of a dataset (its last run's spec), or the path of a spec.")],
    /,
    *,
    min_score: Annotated[
        int | None,
        Parameter(validator=Number(gte=1, lte=10), help="Accept from this score upwards, instead of the spec's."),
    ] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Show what would be accepted, by score, and make no version.")] = False,
    simulated: Simulated = False,
    allow_fewer: Annotated[bool, Parameter(negative="", help="Let `latest` move to a version with fewer rows.")] = False,
    as_json: AsJson = False,
) -> int:
    """Score what has no score, publish what is accepted today, print where."""
    from convoforge.dataset.release import publish_again
    from convoforge.dataset.status import score_dataset
    from convoforge.ledger import Ledger

    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        plan, dataset_id = find_any_plan(ledger, settings, dataset, simulated=simulated)
        before = plan.spec.quality.min_score
        if min_score is not None:
            plan = replace(plan, spec=change_spec(plan.spec, quality={"min_score": min_score}))
        if dry_run:
            score_dataset(ledger, plan, dataset_id)
            earlier = replace(plan, spec=change_spec(plan.spec, quality={"min_score": before}))
            return _preview(plan, *(_look(ledger, one, dataset_id) for one in (plan, earlier)), as_json=as_json)
        published, summary = publish_again(ledger, plan, dataset_id, settings.data_dir, allow_fewer=allow_fewer)
    if as_json:
        print_json(
            {
                "dataset": plan.spec.name,
                "provider": plan.provider,
                "version": published.version,
                "latest_version": published.latest,
                "path": str(published.path) if published.path else None,
                "load_path": str(published.load_path) if published.load_path else None,
                "rows": published.rows,
                "splits": dict(published.splits),
                "unchanged": published.unchanged,
                "accepted": summary.counts[Status.ACCEPTED],
                "needs_revision": summary.counts[Status.NEEDS_REVISION],
                "dropped": summary.counts[Status.DROPPED],
                "notes": list(published.notes),
            }
        )
    else:
        what = "unchanged since" if published.unchanged else "published as"
        splits = ", ".join(f"{name} {rows:,}" for name, rows in published.splits.items())
        name = f"{plan.spec.name}{' (simulated)' if plan.provider == 'simulator' else ''}"
        out.print(
            facts(
                [
                    ("dataset", f"{name}, {what} version {published.version}" if published.version else name),
                    ("rows", f"{published.rows:,} ({splits})" if splits else "0"),
                    ("needs revision", f"{summary.counts[Status.NEEDS_REVISION]:,}"),
                    *behind(published.version, published.latest),
                    ("path", str(published.path or "nothing published")),
                ]
            )
        )
        print_notes(published.notes)
    return DONE if published.version is not None else FAILED


@dataclass(frozen=True, slots=True)
class Preview:
    """What a threshold would accept, in conversations. `scores` are those of all answers that hold one. `missing` draws are what a build
    would then ask for in its first round."""

    min_score: int
    accepted: int
    needs_revision: int
    dropped: int
    missing: int
    scores: Mapping[int, int]


def _look(ledger: Ledger, plan: Plan, dataset_id: int) -> Preview:
    from convoforge.dataset.status import read_status

    status = read_status(ledger, plan, dataset_id)
    scores = Counter(draw.score for draw in status.answered if draw.score is not None)
    return Preview(
        min_score=plan.spec.quality.min_score,
        accepted=status.counts[Status.ACCEPTED],
        needs_revision=status.counts[Status.NEEDS_REVISION],
        dropped=status.counts[Status.DROPPED],
        missing=len(status.pending) + len(status.to_request),
        scores={score: scores[score] for score in sorted(scores)},
    )


def _preview(plan: Plan, seen: Preview, before: Preview, *, as_json: bool) -> int:
    """Print what the threshold accepts, beside what the one before does."""
    if as_json:
        print_json(
            {"dataset": plan.spec.name, "provider": plan.provider, "dry_run": True, **asdict(seen), "before": asdict(before)}
        )
        return DONE
    simulated = " (simulated)" if plan.provider == "simulator" else ""
    out.print(f"[bold]{plan.spec.name}[/bold]{simulated} with scores from {seen.min_score}: no version is made.\n")
    change = seen.accepted - before.accepted
    than = f" ({change:+,} against scores from {before.min_score})" if seen.min_score != before.min_score else ""
    out.print(
        facts(
            [
                ("accepted", f"{seen.accepted:,} of {plan.planned:,} planned{than}"),
                ("needs revision", f"{seen.needs_revision:,}"),
                ("dropped", f"{seen.dropped:,}"),
                ("missing", f"{seen.missing:,}, which the next build with this threshold would ask for"),
            ]
        )
    )
    highest = max(seen.scores.values(), default=1)
    rows = [
        (str(score), f"{count:,}", "enough" if score >= seen.min_score else "too low", "█" * max(1, round(30 * count / highest)))
        for score, count in sorted(seen.scores.items(), reverse=True)
    ]
    out.print()
    out.print(grid(["score", "conversations", "", ""], rows, left=4))
    return DONE
