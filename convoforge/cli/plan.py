"""`convoforge plan`: what a build would do and cost. Writes nothing, and calls nothing but the free count of tokens, where asked to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from sqlalchemy.engine import make_url

from convoforge.cli import DONE
from convoforge.cli.words import duration, facts, grid, out, print_json
from convoforge.dataset import (
    NONE_STRANDED,
    Stranded,
    find_mended,
    find_refused,
    find_stale,
    find_stranded,
    plan_dataset,
    read_standing,
    stand,
)
from convoforge.errors import ConfigError
from convoforge.estimate import Estimate, Range, estimate, missing, templates_of
from convoforge.ledger import Ledger
from convoforge.ledger.history import Made, read_history
from convoforge.ledger.runs import find_dataset
from convoforge.models import Provider, Status
from convoforge.plan import Plan, make_plan
from convoforge.pricing import dollars
from convoforge.project import show_database
from convoforge.settings import Settings
from convoforge.spec import DatasetSpec, change_spec, load_spec
from convoforge.standing import Standing
from convoforge.templates import Library


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a build would find and do: `missing` conversations are generated, as `costs` says; `refresh` is for the stale ones."""

    plan: Plan
    standing: Standing
    stale: int
    missing: int
    costs: Estimate
    refresh: Estimate
    stranded: Stranded


def forecast(
    spec: str,
    settings: Settings,
    *,
    simulate: bool,
    model: str | None = None,
    limit: int | None = None,
    batch: bool = False,
    count: bool = False,
    retry_refused: bool = False,
) -> Forecast:
    """The plan of a spec against what the ledger holds; with `count`, the API counts some prompts. Raises `ConfigError` for whatever
    could not work, and what the API raises."""
    loaded = load_spec(spec, settings.config_dir, model=settings.model)
    changes = {**({"model": model} if model else {}), **({"mode": "batch"} if batch else {})}
    loaded = change_spec(loaded, **changes) if changes else loaded
    provider: Provider = "simulator" if simulate else "anthropic"
    made, standing, history, stranded = _look(loaded, provider, settings)
    stale = find_stale(made, standing)
    refused = find_refused(made, standing) if retry_refused else find_mended(made, standing)
    draws = missing(made, standing, limit, refused)
    counted = _count(made, settings) if count else None
    again = templates_of(made, [draw.cell for draw in stale])
    return Forecast(
        plan=made,
        standing=standing,
        stale=len(stale),
        missing=sum(draws.values()),
        costs=estimate(made, draws, standing, history, counted=counted, refills=limit is None),
        refresh=estimate(made, again, standing, history, counted=counted),
        stranded=stranded,
    )


def _look(spec: DatasetSpec, provider: Provider, settings: Settings) -> tuple[Plan, Standing, Mapping[str, Made], Stranded]:
    """The plan, how the dataset stands under it, what its templates' answers were like, and what a change of the spec leaves behind, as
    far as a ledger knows."""
    url, library = make_url(settings.database_url), Library.at(settings.config_dir)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        made = make_plan(spec, library, provider)
        return made, stand(made, []), {}, NONE_STRANDED  # to look is no reason to make a ledger
    with Ledger(settings.database_url) as ledger:
        made = plan_dataset(ledger, spec, library, provider)
        found = ledger.read(find_dataset, spec.name, provider)
        history = ledger.read(read_history, provider, spec.model, spec.templates)
        standing = read_standing(ledger, made, found.id) if found else stand(made, [])
        return made, standing, history, find_stranded(ledger, made)


def _count(made: Plan, settings: Settings) -> dict[str, float]:
    if made.provider == "anthropic" and not settings.keys:
        raise ConfigError("--count asks the API, and there is no key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
    from convoforge.counting import count_prompts  # brings the SDK, which takes 1.4 s to import

    return count_prompts(made, settings)


def show_plan(spec: str, *, simulate: bool, model: str | None, batch: bool, count: bool, as_json: bool) -> int:
    """Print the forecast."""
    settings = Settings()
    seen = forecast(spec, settings, simulate=simulate, model=model, batch=batch, count=count)
    made, standing, limits, costs = seen.plan, seen.standing, seen.plan.spec.limits, seen.costs
    if as_json:
        print_json(
            {
                "dataset": made.spec.name,
                "provider": made.provider,
                "model": made.spec.model,
                "mode": made.spec.mode,
                "cells": len(made.cells),
                "planned": made.wanted,
                "accepted": standing.counts[Status.ACCEPTED],
                "pending": len(standing.pending),
                "stale": seen.stale,
                "exhausted": len(standing.exhausted),
                "stranded": seen.stranded.conversations,
                "stranded_cost_usd": f"{seen.stranded.paid_usd:f}",
                "refused": len(standing.refused),
                "to_generate": seen.missing,
                **costs.as_json,
                "refresh_cost_usd": f"{seen.refresh.cost.expected:.6f}",
                "ledger": show_database(settings.database_url),
                "notes": list(made.notes),
            }
        )
        return DONE
    per_tier = Counter((cell.tier, cell.template) for cell in made.cells)
    out.print(f"[bold]{made.spec.name}[/bold] with {escape(made.spec.model)}")
    refills = f", {costs.requests - seen.missing} refills expected" if costs.requests > seen.missing else ""
    out.print(
        facts(
            [
                ("planned", f"{made.wanted} conversations: {len(made.cells)} cells of {made.spec.per_cell}"),
                ("accepted", f"{standing.counts[Status.ACCEPTED]} already in the ledger"),
                ("to generate", f"{seen.missing}{refills}"),
                ("stale", f"{seen.stale}" + (f", {seen.refresh.cost} with --refresh" if seen.stale else "")),
                ("exhausted", f"{len(standing.exhausted)} cells out of draws"),
                *(
                    [("refused", f"{len(standing.refused)} by the API; build --retry-refused asks again")]
                    if standing.refused
                    else []
                ),
                ("limits", f"{limits.max_requests} requests in {limits.window_seconds:g} s, {limits.concurrency} at once"),
                ("budget", f"{dollars(made.spec.budget.run_usd)} a run" if made.spec.budget.run_usd else "none"),
                ("ledger", show_database(settings.database_url)),
            ]
        )
    )
    if seen.missing:
        out.print()
        rows = [["online", *_amounts(costs.online), f"{duration(costs.seconds)}, held up by {costs.held_up_by}"]]
        rows += [["batch", *_amounts(costs.batch), "within 24 h"]] if costs.batch else []
        out.print(grid(["cost", "low", "expected", "high", "time"], rows))
        out.print(f"[dim]from {costs.basis}[/dim]")
    out.print()
    out.print(grid(["tier", "template", "cells"], ([tier, name, str(n)] for (tier, name), n in sorted(per_tier.items())), left=2))
    if seen.stranded.conversations:
        out.print(f"[yellow]{seen.stranded}.[/yellow]")
    for note in made.notes:
        out.print(f"[dim]note: {escape(note)}[/dim]")
    return DONE


def _amounts(one: Range) -> list[str]:
    return [dollars(one.low), dollars(one.expected), dollars(one.high)]
