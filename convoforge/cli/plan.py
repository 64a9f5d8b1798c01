"""`convoforge plan`: what a build would do and cost. Writes nothing, and calls nothing but the free count of tokens, where asked to."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape

from convoforge.cli import DONE
from convoforge.cli.words import duration, facts, grid, out, print_json
from convoforge.errors import ConfigError
from convoforge.estimate import Range
from convoforge.forecast import forecast, look
from convoforge.models import Status
from convoforge.options import BuildOptions, resolve_spec
from convoforge.plan import Plan
from convoforge.pricing import dollars
from convoforge.project import show_database
from convoforge.settings import Settings


def _count(made: Plan, settings: Settings) -> dict[str, float]:
    if made.provider == "anthropic" and not settings.keys:
        raise ConfigError("--count asks the API, and there is no key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
    from convoforge.counting import count_prompts  # brings the SDK, which takes 1.4 s to import

    return count_prompts(made, settings)


def show_plan(spec: str, options: BuildOptions, *, count: bool, as_json: bool) -> int:
    """Print the forecast."""
    settings = Settings()
    known = look(resolve_spec(spec, options, settings), options, settings)
    seen = forecast(known, options, _count(known.plan, settings) if count else None)
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
                "stale": len(seen.stale),
                "exhausted": len(standing.exhausted),
                "stranded": seen.stranded.conversations,
                "stranded_cost_usd": f"{seen.stranded.paid_usd:f}",
                "refused": len(standing.refused),
                "to_generate": seen.missing,
                **costs.as_json,
                "refresh_cost_usd": f"{seen.refresh.cost.expected:.6f}",
                "ledger": show_database(settings.database_url),
                "notes": [*made.notes, *seen.warnings],
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
                ("stale", f"{len(seen.stale)}" + (f", {seen.refresh.cost} with --refresh" if seen.stale else "")),
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
    for warning in seen.warnings:
        out.print(f"[yellow]{warning}.[/yellow]")
    for note in made.notes:
        out.print(f"[dim]note: {escape(note)}[/dim]")
    return DONE


def _amounts(one: Range) -> list[str]:
    return [dollars(one.low), dollars(one.expected), dollars(one.high)]
