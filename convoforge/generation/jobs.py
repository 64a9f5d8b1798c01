"""One request to send, and the intent that stands in the ledger before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from convoforge.generation.run_context import RunContext
from convoforge.ledger.attempts import Intent
from convoforge.ledger.budgets import list_budget_scopes, name_account
from convoforge.ledger.requests import Claimed
from convoforge.models import Prompt, Purpose
from convoforge.planning.plan import Cell, Plan
from convoforge.planning.spec import Generation
from convoforge.pricing import pico
from convoforge.scoring import ScoringContext


@dataclass(frozen=True, slots=True)
class Job:
    """One request to send, claimed by this process. `epoch` is the run state's epoch when the request came."""

    claimed: Claimed
    prompt: Prompt
    settings: Generation
    template: str
    template_version: str
    epoch: int = 0
    context: ScoringContext = ScoringContext()
    keep_score: bool = False
    purpose: Purpose = "conversation"


def make_job(plan: Plan, cell: Cell, claimed: Claimed) -> Job:
    """Make the job for a claimed draw of a plan's cell, with the prompt as of now."""
    template = plan.library.template(cell.template)
    spec = plan.spec
    context = ScoringContext.of(spec.name, cell, spec.parameters)
    return Job(
        claimed, plan.prompt(cell, claimed.draw, claimed.lines), spec.generation, cell.template, template.label, context=context
    )


def make_intent(
    run: RunContext,
    job: Job,
    attempt: int,
    at: datetime,
    reserve_pico: int,
    owner: str,
    api_key: str,
    batch_id: str | None = None,
) -> Intent:
    """Make the intent for a call of a run, with the budget caps that it must fit into."""
    budget = run.spec.budget
    caps = (budget.run_usd, budget.dataset_usd, budget.day_usd)
    scopes = list_budget_scopes(run.run_id, run.dataset_id, at, name_account(budget.account, run.provider))
    return Intent(
        request_id=job.claimed.request_id,
        attempt=attempt,
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        owner=owner,
        provider=run.provider,
        model=run.spec.model,
        template=job.template,
        api_key=api_key,
        price=run.price.text,
        started_at=at,
        reserve_pico=reserve_pico,
        limits={scope: None if cap is None else pico(cap) for scope, cap in zip(scopes, caps, strict=True)},
        batch_id=batch_id,
        purpose=job.purpose,
    )
