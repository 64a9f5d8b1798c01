"""`convoforge plan`: what a build would do and cost. Calls nothing, writes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from pathlib import Path

from sqlalchemy.engine import make_url

from convoforge.cli import DONE
from convoforge.cli.words import dollars, duration, facts, grid, out, print_json
from convoforge.dataset import find_stale, read_standing
from convoforge.ledger import Ledger
from convoforge.ledger.runs import find_dataset
from convoforge.models import Provider, Status
from convoforge.plan import Plan, estimate, make_plan
from convoforge.settings import Settings
from convoforge.spec import change_spec, load_spec
from convoforge.standing import Standing, assess
from convoforge.templates import Library


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a build would find and do. `missing` conversations are generated, at `cost_usd`; `refresh_usd` regenerates the stale."""

    plan: Plan
    standing: Standing
    stale: int
    missing: int
    cost_usd: Decimal
    refresh_usd: Decimal
    seconds: float


def forecast(spec: str, settings: Settings, *, simulate: bool, model: str | None = None, limit: int | None = None) -> Forecast:
    """The plan of a spec against what the ledger holds. Raises `ConfigError` for whatever could not work."""
    loaded = load_spec(spec, settings.config_dir, model=settings.model)
    loaded = change_spec(loaded, model=model) if model else loaded
    provider: Provider = "simulator" if simulate else "anthropic"
    made = make_plan(loaded, Library.at(settings.config_dir), provider)
    standing = _standing(made, settings)
    stale = len(find_stale(made, standing))
    missing = min(len(standing.ask) + len(standing.pending), limit or len(made.cells) * loaded.per_cell)
    limits = loaded.limits
    return Forecast(
        plan=made,
        standing=standing,
        stale=stale,
        missing=missing,
        cost_usd=estimate(made, missing),
        refresh_usd=estimate(made, stale),
        seconds=missing / (limits.max_requests * limits.pause_threshold) * limits.window_seconds,
    )


def _standing(made: Plan, settings: Settings) -> Standing:
    url = make_url(settings.database_url)
    spec = made.spec
    empty = assess(
        [c.key for c in made.cells], [], min_score=spec.quality.min_score, per_cell=spec.per_cell, max_draws=spec.max_draws
    )
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        return empty  # to look is no reason to make a ledger
    with Ledger(settings.database_url) as ledger:
        found = ledger.read(find_dataset, spec.name, made.provider)
        return read_standing(ledger, made, found.id) if found else empty


def show_plan(spec: str, *, simulate: bool, model: str | None, as_json: bool) -> int:
    """Print the forecast."""
    seen = forecast(spec, Settings(), simulate=simulate, model=model)
    made, standing, limits = seen.plan, seen.standing, seen.plan.spec.limits
    if as_json:
        print_json(
            {
                "dataset": made.spec.name,
                "provider": made.provider,
                "model": made.spec.model,
                "cells": len(made.cells),
                "planned": made.wanted,
                "accepted": standing.counts[Status.ACCEPTED],
                "pending": len(standing.pending),
                "stale": seen.stale,
                "exhausted": len(standing.exhausted),
                "to_generate": seen.missing,
                "estimated_cost_usd": f"{seen.cost_usd:.6f}",
                "refresh_cost_usd": f"{seen.refresh_usd:.6f}",
                "seconds_at_limits": ceil(seen.seconds),
                "notes": list(made.notes),
            }
        )
        return DONE
    per_tier = Counter((cell.tier, cell.template) for cell in made.cells)
    out.print(f"[bold]{made.spec.name}[/bold] with {made.spec.model}")
    out.print(
        facts(
            [
                ("planned", f"{made.wanted} conversations: {len(made.cells)} cells of {made.spec.per_cell}"),
                ("accepted", f"{standing.counts[Status.ACCEPTED]} already in the ledger"),
                ("to generate", f"{seen.missing}, about {dollars(seen.cost_usd)} before refills"),
                ("stale", f"{seen.stale}" + (f", {dollars(seen.refresh_usd)} with --refresh" if seen.stale else "")),
                ("exhausted", f"{len(standing.exhausted)} cells out of draws"),
                ("limits", f"{limits.max_requests} requests in {limits.window_seconds:g} s: {duration(seen.seconds)} at least"),
                ("budget", f"{dollars(made.spec.budget.run_usd)} a run" if made.spec.budget.run_usd else "none"),
            ]
        )
    )
    out.print()
    out.print(grid(["tier", "template", "cells"], ([tier, name, str(n)] for (tier, name), n in sorted(per_tier.items())), left=2))
    for note in made.notes:
        out.print(f"[dim]note: {note}[/dim]")
    return DONE
