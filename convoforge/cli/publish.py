"""`convoforge publish`: a version from what the ledger holds. Pays nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from convoforge.cli.console import behind, facts, out, print_json, print_notes
from convoforge.cli.parameters import DONE, FAILED, AsJson, Simulated
from convoforge.cli.show import find_plan
from convoforge.models import Provider, Status
from convoforge.planning.spec import change_spec, load_spec
from convoforge.settings import Settings


def publish(
    dataset: Annotated[str, Parameter(help="The name of a dataset (its last run's spec), or the path of a spec.")],
    /,
    *,
    min_score: Annotated[
        int | None,
        Parameter(validator=Number(gte=1, lte=10), help="Accept from this score upwards, instead of the spec's."),
    ] = None,
    simulated: Simulated = False,
    allow_fewer: Annotated[bool, Parameter(negative="", help="Let `latest` move to a version with fewer rows.")] = False,
    as_json: AsJson = False,
) -> int:
    """Score what has no score, publish what is accepted today, print where."""
    from convoforge.dataset.release import publish_dataset
    from convoforge.dataset.status import find_stale, plan_dataset, read_status, score_dataset
    from convoforge.ledger import Ledger
    from convoforge.ledger.runs import ensure_dataset, keep_spec
    from convoforge.planning.templates import Library

    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        if dataset.endswith((".yaml", ".yml")):
            provider: Provider = "simulator" if simulated else "anthropic"
            spec = load_spec(dataset, settings.config_dir, model=settings.model)
            plan = plan_dataset(ledger, spec, Library.at(settings.config_dir), provider)
            dataset_id = ledger.write(ensure_dataset, plan.spec.name, provider, datetime.now(UTC))
        else:
            plan, dataset_id = find_plan(ledger, settings, dataset, simulated=simulated)
        if min_score is not None:
            plan = replace(plan, spec=change_spec(plan.spec, quality={"min_score": min_score}))
        ledger.write(keep_spec, dataset_id, plan.spec)
        score_dataset(ledger, plan.spec, dataset_id)
        stale = len(find_stale(plan, read_status(ledger, plan, dataset_id)))
        published, summary = publish_dataset(ledger, plan, dataset_id, settings.data_dir, stale=stale, allow_fewer=allow_fewer)
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
        splits = ", ".join(f"{name} {rows}" for name, rows in published.splits.items())
        out.print(
            facts(
                [
                    ("dataset", f"{plan.spec.name}, {what} version {published.version}" if published.version else plan.spec.name),
                    ("rows", f"{published.rows} ({splits})" if splits else "0"),
                    ("needs revision", str(summary.counts[Status.NEEDS_REVISION])),
                    *behind(published.version, published.latest),
                    ("path", str(published.path or "nothing published")),
                ]
            )
        )
        print_notes(published.notes)
    return DONE if published.version is not None else FAILED
