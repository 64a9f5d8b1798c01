"""`convoforge plan`: what a build would do and cost. Calls nothing but the free count of tokens, where there is a key; only a pilot
spends."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from convoforge.cli.build import UNCHANGED, Options, Spec
from convoforge.cli.build_display import list_warnings
from convoforge.cli.console import ask, errors, facts, grid, out, print_json, print_notes
from convoforge.cli.parameters import DONE, ENDED_SHORT, AsJson, Positive
from convoforge.errors import ConfigError, ConvoforgeError, format_count, span
from convoforge.models import Status
from convoforge.planning.options import BuildOptions, explain_model, resolve_spec
from convoforge.planning.spec import change_spec
from convoforge.pricing import dollars
from convoforge.project import show_database
from convoforge.settings import WITHOUT_BATCHES, Settings, describe_api

if TYPE_CHECKING:
    from convoforge.dataset.draw_costs import Range
    from convoforge.dataset.forecast import Known
    from convoforge.generation.pilot import Pilot
    from convoforge.planning.plan import Plan

COUNT_SECONDS = 10.0
"""Seconds that a count nobody asked for may take."""


def plan(
    spec: Spec,
    /,
    *,
    options: Options = UNCHANGED,
    count: Annotated[
        bool | None,
        Parameter(help="Let the API count some prompts' tokens, which is free. Without this option: where there is a key."),
    ] = None,
    pilot: Annotated[int | None, Positive, Parameter(help="First pay for this many draws, which the build then keeps.")] = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask before a pilot spends.")] = False,
    as_json: AsJson = False,
) -> int:
    """Print the forecast, after a pilot if one is asked for."""
    from convoforge.dataset.forecast import forecast, read_known

    settings = Settings()
    resolved = resolve_spec(spec, options, settings)
    known = read_known(resolved, options, settings)
    made_first = None
    if pilot is not None:
        made_first = _fly(known, options, settings, pilot, yes=yes)
        if made_first is None:
            out.print("Nothing was sent.")
            return ENDED_SHORT
        known = read_known(resolved, options, settings)
    counted, trouble = _count(known.plan, settings, wished=count)
    api = "anthropic" if options.simulate else settings.api
    trouble += [*explain_model(spec, options, settings), *describe_api(api)]
    seen = forecast(known, options, counted)
    made, status, limits, costs = seen.plan, seen.status, seen.plan.spec.limits, seen.costs
    if as_json:
        print_json(
            {
                **seen.as_json,
                "ledger": show_database(settings.database_url),
                "pilot": made_first and _pilot_json(made_first),
                "notes": [*made.notes, *seen.warnings, *trouble],
            }
        )
        return _code(made_first)
    judge = costs.judge
    per_tier = Counter((cell.tier, cell.template) for cell in made.cells)
    if made_first:
        short = f"; {escape(made_first.stopped)}" if made_first.stopped else ""
        paid = " (simulated: nothing was paid)" if made.provider == "simulator" else ""
        out.print(
            f"pilot: {made_first.generated:,} of {format_count(made_first.sent, 'draw')} generated for "
            f"{dollars(made_first.cost_usd)}{paid}{short}\n"
        )
    out.print(f"[bold]{made.spec.name}[/bold] with {escape(made.spec.model)}")
    refills = f", {format_count(costs.requests - seen.missing, 'refill')} expected" if costs.requests > seen.missing else ""
    out.print(
        facts(
            [
                (
                    "planned",
                    f"{format_count(made.planned, 'conversation')}: {format_count(len(made.cells), 'cell')} of {made.spec.per_cell}",
                ),
                ("accepted", f"{status.counts[Status.ACCEPTED]:,} already in the ledger"),
                ("to generate", f"{seen.missing:,}{refills}"),
                *([("to judge", judge.describe(made.spec.mode))] if judge else []),
                ("stale", f"{len(seen.stale)}" + (f", {seen.refresh.cost} with --refresh" if seen.stale else "")),
                ("exhausted", f"{format_count(len(status.exhausted), 'cell')} out of draws"),
                *([("refused", f"{len(status.refused)} by the API; build --retry-refused asks again")] if status.refused else []),
                (
                    "limits",
                    f"{format_count(limits.max_requests, 'request')} in {limits.window_seconds:g} s, {limits.concurrency} at once",
                ),
                ("budget", f"{dollars(made.spec.budget.run_usd)} a run" if made.spec.budget.run_usd else "none"),
                ("ledger", show_database(settings.database_url)),
            ]
        )
    )
    if seen.missing or status.to_judge:
        out.print()
        batches = api not in WITHOUT_BATCHES
        rows = [["online", *_amounts(costs.online), f"{span(costs.seconds)}, limited by {costs.limited_by}"]]
        rows += [["  of it the judge", *_amounts(judge.online), ""]] if judge else []
        rows += [["batch", *_amounts(costs.batch), "within 24 h"]] if costs.batch and batches else []
        rows += [["  of it the judge", *_amounts(judge.batch), ""]] if costs.batch and batches and judge and judge.batch else []
        out.print(grid(["cost", "low", "expected", "high", "time"], rows))
        out.print(f"[dim]from {costs.basis}[/dim]")
    out.print()
    out.print(
        grid(["tier", "template", "cells"], ([tier, name, f"{n:,}"] for (tier, name), n in sorted(per_tier.items())), left=2)
    )
    print_notes([*made.notes, *trouble], list_warnings(seen))
    return _code(made_first)


def _count(made: Plan, settings: Settings, *, wished: bool | None) -> tuple[dict[str, float] | None, list[str]]:
    """The API's count of each template's prompts, and why there is none where nobody insisted on it. Raises what the API raises where
    somebody did."""
    if wished is False or (wished is None and (made.provider == "simulator" or not settings.counts_tokens)):
        return None, []
    if made.provider == "anthropic" and not settings.accounts:
        raise ConfigError("--count asks the API, and there is no key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
    from convoforge.generation.token_count import count_prompts  # brings the SDK, which takes 1.4 s to import

    try:
        return count_prompts(made, settings, None if wished else COUNT_SECONDS), []
    except (ConvoforgeError, TimeoutError) as error:
        if wished:
            raise
        why = str(error) or f"no answer in {COUNT_SECONDS:.0f} s"
        return None, [f"the API did not count the prompts, their tokens are estimated by letters: {why}"]


def _fly(known: Known, options: BuildOptions, settings: Settings, count: int, *, yes: bool) -> Pilot | None:
    """Pay for a pilot; None where somebody was asked, and did not want it."""
    from convoforge.dataset.forecast import forecast

    simulate = options.simulate
    if not simulate and not settings.accounts:
        raise ConfigError("no API key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
    spec = change_spec(known.plan.spec, quality={"judge": None})  # a build lets it read what the pilot keeps
    first = forecast(
        replace(known, plan=replace(known.plan, spec=spec)),
        options.model_copy(update={"limit": min(count, options.limit or count)}),
    )
    if not first.missing:
        raise ConfigError(f"dataset '{known.plan.spec.name}': nothing is missing, so there is nothing to try in a pilot")
    draws = format_count(first.missing, "draw")
    question = f"A pilot of {draws} with {known.plan.spec.model} will cost {first.costs.online}, and the build keeps them."
    if not simulate and not yes and not ask(f"{question} Spend it?"):
        return None
    from convoforge.api.python import choose_limiter
    from convoforge.generation.pilot import run_pilot

    with errors.status(f"[dim]Making {format_count(first.missing, 'draw')} …[/dim]"):
        return asyncio.run(run_pilot(known.plan, settings, first.missing, choose_limiter()))


def _pilot_json(pilot: Pilot) -> dict[str, Any]:
    return {
        "sent": pilot.sent,
        "generated": pilot.generated,
        "cost_usd": f"{pilot.cost_usd:f}",
        "stopped": pilot.stopped,
    }


def _code(pilot: Pilot | None) -> int:
    return DONE if pilot is None or pilot.stopped is None else ENDED_SHORT


def _amounts(one: Range) -> list[str]:
    return [dollars(one.low), dollars(one.expected), dollars(one.high)]
