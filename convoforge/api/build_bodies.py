"""JSON bodies of builds and their runs, as those in `bodies`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from convoforge.api.bodies import REQUEST, Answer
from convoforge.orchestration.followed_runs import FollowedRun
from convoforge.orchestration.steering import Action
from convoforge.planning.options import BuildOptions

Dollars = Annotated[Decimal, Field(gt=0, strict=False)]


class BuildOptionsBody(BuildOptions):
    """The options of a build, as in the form of its deployment. What is left out is as in the spec."""

    model_config = REQUEST | ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    budget: Dollars | None = Field(default=None, description="Maximum spend of this run, in US dollars.")
    approve_above_usd: Dollars | None = Field(
        default=None, description="Wait for a yes where the estimate is above this, in US dollars. Without it: as the spec says."
    )


class BuildRequest(BaseModel):
    """A request for a build: the name of a spec in configs/datasets, and what this run does otherwise than the spec says."""

    model_config = REQUEST

    spec: str = Field(min_length=1, max_length=64)
    options: BuildOptionsBody = BuildOptionsBody()


class RateUse(Answer):
    """Requests sent in the last window, and how many may be."""

    used: int
    allowed: int
    window_seconds: float


class Spend(Answer):
    """What a run has paid, its budget, what it was expected to cost, and the most that calls may have cost whose bill is not known."""

    cost_usd: float
    budget_usd: float | None
    estimated_usd: float | None
    maybe_usd: float


class CellFigures(Answer):
    """Cells of the plan: full ones hold all accepted conversations that the spec wants, exhausted ones have no draws left."""

    cells: int
    full: int
    short: int
    exhausted: int
    wanted: int
    accepted: int


class Incidents(Answer):
    """What was refused, failed or not accepted for one reason, how often, an example, and what to do about it."""

    what: str
    reason: str
    count: int
    example: str
    to_do: str
    conversation_id: str | None


class BuildBody(Answer):
    """A run. `state` is scheduled, waiting, running, stopping, published, unchanged, limited, partial, failed or cancelled. `made` are
    answers, `left` requests that wait or are under way, `actions` what can be done to it now. `activity` says what it does or waits for;
    figures of the rate and `secondsLeft` are there while it goes on."""

    build_id: str
    dataset: str
    provider: str | None = None
    model: str | None = None
    state: str
    message: str | None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    made: int = 0
    failed: int = 0
    left: int = 0
    in_flight: int = 0
    queue_length: int = 0
    activity: str | None = None
    rate: RateUse | None = None
    seconds_left: float | None = None
    spend: Spend | None = None
    cells: CellFigures | None = None
    incidents: Sequence[Incidents] = ()
    version: int | None = None
    actions: Sequence[Action] = ()


def show_build(followed: FollowedRun) -> BuildBody:
    """The body for a run."""
    state: dict[str, Any] = {
        "build_id": followed.id,
        "dataset": followed.dataset,
        "state": followed.state,
        "message": followed.message or None,
    }
    if (seen := followed.seen) is None:
        return BuildBody(**state, actions=followed.actions)
    run, figures = seen.run, seen.run.figures
    used, allowed = run.used_of
    return BuildBody(
        **state,
        provider=run.row.provider,
        model=run.row.model,
        started_at=run.row.started_at,
        finished_at=run.row.finished_at,
        made=run.generated,
        failed=figures.failed if figures else 0,
        left=figures.left if figures and run.goes_on else 0,
        in_flight=figures.in_flight if figures else 0,
        queue_length=run.note.queue if run.note else 0,
        activity=run.activity or None,
        rate=RateUse(used=used, allowed=allowed, window_seconds=run.spec.limits.window_seconds)
        if run.goes_on and run.spec
        else None,
        seconds_left=run.seconds_left,
        spend=Spend(
            cost_usd=float(run.cost_usd),
            budget_usd=show_amount(seen.budget_usd),
            estimated_usd=show_amount(seen.estimated_usd),
            maybe_usd=float(seen.maybe_usd),
        ),
        cells=CellFigures.model_validate(seen.cells) if seen.cells else None,
        incidents=[Incidents.model_validate(one) for one in seen.reasons],
        version=run.report.get("version"),
        actions=followed.actions,
    )


def show_amount(amount: Decimal | None) -> float | None:
    """US dollars as a JSON number."""
    return None if amount is None else float(amount)
