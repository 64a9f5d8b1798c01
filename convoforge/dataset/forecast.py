"""What a build will find, do and pay, before it does: made the same way for `plan`, for `build` and for the flow that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.estimate import Estimate, count_missing, estimate, list_spared, templates_of
from convoforge.dataset.expected_draws import pick_samples
from convoforge.dataset.judge_estimate import JudgeEstimate, estimate_judge
from convoforge.dataset.placing import read_settled_status
from convoforge.dataset.status import (
    NONE_STRANDED,
    Stranded,
    assess_draws,
    find_judge_refused,
    find_mended,
    find_refused,
    find_stale,
    find_stranded,
    plan_dataset,
    read_status,
    score_dataset,
)
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.budgets import list_budget_scopes, name_account, read_spent
from convoforge.ledger.history import Made, read_history
from convoforge.ledger.requests import read_draws
from convoforge.ledger.runs import find_dataset
from convoforge.models import Status
from convoforge.planning.draws import Draw
from convoforge.planning.model_facts import check_model, is_elsewhere
from convoforge.planning.options import BuildOptions
from convoforge.planning.plan import ANSWER_TOKENS, Plan, make_plan, worst_cost_pico
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.pricing import dollars, usd
from convoforge.scoring import Rubric
from convoforge.settings import Settings, check_settings


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a build would find and do. `missing` draws are sent, for what `costs` says; `again` are those of them that the ledger holds and
    that are asked once more; `judge_again` hold conversations whose judge is. `refresh` is what asking for all `stale` ones once more
    would cost. `warnings` are of the budgets."""

    plan: Plan
    status: DatasetStatus
    stale: tuple[Draw, ...]
    again: tuple[Draw, ...]
    judge_again: tuple[Draw, ...]
    missing: int
    costs: Estimate
    refresh: Estimate
    stranded: Stranded
    warnings: tuple[str, ...]

    @property
    def as_json(self) -> dict[str, Any]:
        """Plain values, money as strings."""
        spec, status = self.plan.spec, self.status
        return {
            "dataset": spec.name,
            "provider": self.plan.provider,
            "model": spec.model,
            "mode": spec.mode,
            "cells": len(self.plan.cells),
            "planned": self.plan.planned,
            "accepted": status.counts[Status.ACCEPTED],
            "pending": len(status.pending),
            "stale": len(self.stale),
            "exhausted": len(status.exhausted),
            "stranded": self.stranded.conversations,
            "stranded_cost_usd": f"{self.stranded.paid_usd:f}",
            "refused": len(status.refused),
            "to_judge": len(status.to_judge),
            "to_generate": self.missing,
            **self.costs.as_json,
            "refresh_cost_usd": f"{self.refresh.cost.expected:.6f}",
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows that a forecast goes by. `left` is what is left of each budget that has a cap, in US dollars.
    `judged` is the history of the judge."""

    plan: Plan
    status: DatasetStatus
    history: Mapping[str, Made]
    stranded: Stranded
    left: Mapping[str, Decimal]
    judged: Mapping[str, Made] = field(default_factory=dict)


def read_known(spec: DatasetSpec, options: BuildOptions, settings: Settings, *, score: bool = True) -> Known:
    """What a ledger knows of a dataset; where there is none, none is made. Without `score` nothing is written. Raises `ConfigError` for
    whatever could not work, with the dataset's name, and `ConvoforgeError` for a data folder that cannot be written."""
    check_settings(settings, simulate=options.simulate, batch=spec.mode == "batch")
    try:
        return _read_known(spec, options, settings, score=score)
    except ConfigError as error:
        raise ConfigError(f"dataset '{spec.name}': {error}") from None


def _read_known(spec: DatasetSpec, options: BuildOptions, settings: Settings, *, score: bool) -> Known:
    url, library = make_url(settings.database_url), Library.at(settings.config_dir)
    elsewhere = is_elsewhere(options.provider, settings.endpoint)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        Rubric.of(spec, library)
        plan = make_plan(spec, library, options.provider)
        check_model(plan.facts, spec, elsewhere=elsewhere)
        return Known(plan, assess_draws(plan, []), {}, NONE_STRANDED, _left(spec, {}))
    with Ledger(settings.database_url) as ledger:
        plan = plan_dataset(ledger, spec, library, options.provider)
        check_model(plan.facts, spec, elsewhere=elsewhere)
        return read_known_of_plan(ledger, plan, settings, find_stranded(ledger, plan), score=score)


def read_known_of_plan(
    ledger: Ledger, plan: Plan, settings: Settings, stranded: Stranded = NONE_STRANDED, *, score: bool = True
) -> Known:
    """What a ledger knows of a plan's dataset; what is not scored by today's scorers is scored first, as a build would do, for free.
    Without `score` it counts as what it was last."""
    spec = plan.spec
    row = ledger.read(find_dataset, spec.name, plan.provider)
    history = ledger.read(_read_history, plan)
    choice = spec.quality.judge
    judged = ledger.read(read_history, plan.provider, choice.model, spec.templates, "judge") if choice else {}
    account = name_account(spec.budget.account, plan.provider)
    _, dataset, day = list_budget_scopes("", int(row.id) if row else 0, datetime.now(UTC), account)
    spent = ledger.read(read_spent, (dataset, day))  # of the account perhaps, though nothing of this dataset
    left = _left(spec, {"dataset": spent[dataset], "day": spent[day]})
    if row is None:
        return Known(plan, assess_draws(plan, []), history, stranded, left, judged)
    if not score:
        return Known(plan, read_status(ledger, plan, int(row.id)), history, stranded, left, judged)
    score_dataset(ledger, plan, int(row.id))
    return Known(plan, read_settled_status(ledger, plan, int(row.id), settings.data_dir), history, stranded, left, judged)


def _read_history(connection: Connection, plan: Plan) -> Mapping[str, Made]:
    spec = plan.spec
    return read_history(connection, plan.provider, spec.model, spec.templates, candidates=spec.generation.candidates)


def _left(spec: DatasetSpec, spent: Mapping[str, int]) -> dict[str, Decimal]:
    budget = spec.budget
    caps = {"run": budget.run_usd, "dataset": budget.dataset_usd, "day": budget.day_usd}
    return {kind: cap - usd(spent.get(kind, 0)) for kind, cap in caps.items() if cap is not None}


def forecast(known: Known, options: BuildOptions, counted: Mapping[str, float] | None = None) -> Forecast:
    """What a build with these options sends, and what it costs. `counted` are the API's input tokens of a prompt, by template."""
    plan, status, history = known.plan, known.status, known.history
    judge_again = find_judge_refused(plan, status) if options.retry_refused else []
    status = replace(
        status,
        to_judge=(*status.to_judge, *judge_again),
        to_request=tuple(list_spared(status.to_request, judge_again)),
    )
    stale = find_stale(plan, status)
    waiting = {draw.request_id for draw in status.pending}
    refused = find_refused(plan, status) if options.retry_refused else find_mended(plan, status)
    again = [*(draw for draw in stale if options.refresh and draw.request_id not in waiting), *refused]
    draws = count_missing(plan, status, options.limit, again)
    to_judge = templates_of(plan, [draw.cell for draw in status.to_judge])
    judged = known.judged
    costs = estimate(
        plan, draws, status, history, counted=counted, refills=options.limit is None, judged=judged, waiting=to_judge
    )
    return Forecast(
        plan=plan,
        status=status,
        stale=tuple(stale),
        again=tuple(again),
        judge_again=tuple(judge_again),
        missing=sum(draws.values()),
        costs=costs,
        refresh=estimate(
            plan, templates_of(plan, [draw.cell for draw in stale]), status, history, counted=counted, judged=judged
        ),
        stranded=known.stranded,
        warnings=tuple(_warnings(plan, sum(draws.values()), costs, known.left)),
    )


def forecast_judge(ledger: Ledger, plan: Plan, ids: Sequence[int]) -> JudgeEstimate:
    """What it takes to judge the conversations that some requests of a plan hold. The spec has a judge."""
    spec, choice = plan.spec, plan.spec.quality.judge
    assert choice is not None
    row = ledger.read(find_dataset, spec.name, plan.provider)
    cells = {draw.request_id: draw.cell for draw in ledger.read(read_draws, int(row.id))} if row else {}
    known = {cell.key for cell in plan.cells}
    counts = templates_of(plan, [cells[one] for one in ids if cells[one] in known])
    made = ledger.read(_read_history, plan)
    written = {name: made[name].output_tokens if name in made else float(ANSWER_TOKENS) for name in counts}
    judged = ledger.read(read_history, plan.provider, choice.model, spec.templates, "judge")
    found = estimate_judge(plan, {name: [count] * 3 for name, count in counts.items()}, written, judged)
    assert found is not None
    return found


def _warnings(plan: Plan, sent: int, costs: Estimate, left: Mapping[str, Decimal]) -> Iterator[str]:
    """Where a budget and what a build would send do not go together: the tightest budget decides."""
    if not sent or not left:
        return
    kind, room = min(left.items(), key=lambda one: one[1])
    named = f"the {kind} budget" if kind == "run" else f"what is left of the {kind} budget"
    worst = usd(
        min(
            worst_cost_pico(prompt, plan.spec.generation.max_tokens, plan.price)
            for prompts in pick_samples(plan).values()
            for prompt in prompts
        )
    )
    cost = costs.cost

    def count_made(whole: Decimal) -> int:
        """How many of all can be made if they cost `whole`: the last one still needs its worst case set aside."""
        return min(sent, int((room - worst) / (whole / sent)) + 1) if whole else sent

    if room < worst:
        yield (
            f"{named} ({dollars(max(room, Decimal(0)))}) is less than one call may cost at worst ({dollars(worst)}), which is set "
            f"aside before it is sent: nothing would be generated. Raise it"
        )
    elif (made := count_made(cost.expected)) < sent:
        yield (
            f"{named} ({dollars(room)}) pays for about {made:,} of {sent:,}: the estimate is {dollars(cost.expected)}, and the worst "
            f"case of each call in flight ({dollars(worst)} or more) is set aside. The rest is for later runs"
        )
    elif (made := count_made(cost.high)) < sent:
        yield (
            f"{named} ({dollars(room)}) is below the high end of the estimate ({dollars(cost.high)}), where it pays for about {made:,} of "
            f"{sent:,}: the run may end short"
        )
