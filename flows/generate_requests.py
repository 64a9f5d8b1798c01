"""Up to a hundred requests of one's own, outside any dataset: the seed's batch, as a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import BaseModel, ConfigDict, Field

from convoforge.errors import ConvoforgeError, LimiterClosed, format_count
from convoforge.generation.requests import open_generator
from convoforge.models import ConversationRequest, Label, Outcome, ParameterName, Scalar
from convoforge.orchestration.cancellation import end_state, handle_signals, watch_prefect
from convoforge.orchestration.rate_limiter import prefect_limiter
from convoforge.planning.forms import FormSection, ModelName, Offered, arrange_form
from convoforge.planning.spec import ADHOC
from convoforge.planning.templates import Library
from convoforge.pricing import dollars
from convoforge.tasks.report import format_usd, one_line
from convoforge.tasks.run_log import name_run, point_further
from convoforge.tasks.run_page import show_usd


class RequestsReport(BaseModel):
    """What came of a batch: `successful` brought a conversation, `failed` did not, `skipped` were not begun.

    `reasons` and `error_types` (the names in `convoforge.errors`) say why, by index of the request, counted from 0.
    """

    total: int
    successful: int
    failed: int
    skipped: int
    total_cost_usd: str
    reasons: dict[int, str]
    error_types: dict[int, str]
    conversation_ids: list[str]


class RequestForm(ConversationRequest):
    """One conversation to make."""

    model_config = ConfigDict(json_schema_extra=arrange_form)

    template: Annotated[Label, Offered(lambda folder: Library.at(folder).names())] = Field(
        description="Name of a template in configs/templates."
    )
    persona: Annotated[Label, Offered(lambda folder: Library.at(folder).list_personas())] = Field(
        description="Who speaks: a persona of configs/personas, which brings its description, or free text."
    )
    emotion: Label = Field(description="What the speaker feels, in free text, such as Fear.")
    topic: Label = Field(description="What the conversation is about, in free text, such as retirement planning.")
    tier: Label = Field(default="template", description="A tier that the template serves, such as template or edge_case.")
    parameters: Mapping[ParameterName, Scalar] = Field(
        default_factory=dict, max_length=100, description='Values of the template\'s parameters, such as {"complexity": "high"}.'
    )
    max_tokens: int | None = Field(default=None, ge=256, le=21_000, description="Maximum length of the answer, in tokens.")
    temperature: float | None = Field(
        default=None, ge=0, le=1, description="0 to 1; recorded as not applied where the model takes none."
    )


class RequestOptions(FormSection):
    """How the requests are made."""

    simulate: bool = Field(default=False, description="Let a local simulator answer: no key, no cost.")
    model: ModelName | None = Field(default=None, description="Use this model instead of ANTHROPIC_MODEL or the default.")
    concurrency: int = Field(default=3, ge=1, le=100, description="Maximum number of calls in flight at once.")
    stop_on_error: bool = Field(default=False, description="Begin nothing new after the first failure.")


@flow(name="generate-requests", validate_parameters=True)
async def generate_requests(
    requests: Annotated[list[RequestForm], Field(min_length=1, max_length=100)],
    options: RequestOptions = RequestOptions(),
) -> State[Any]:
    """Generate 1 to 100 requests of your own at once, at full price, outside any dataset.

    Ends as Completed, as Completed with the name Partial, or as Failed if no request brought a conversation.

    Args:
        requests: The conversations to make, 1 to 100.
        options: How they are made.

    """
    await name_run(ADHOC, format_count(len(requests), "request"), simulated=options.simulate)
    try:
        async with (
            open_generator(
                model=options.model, simulate=options.simulate, open_limiter=prefect_limiter(get_run_logger())
            ) as generator,
            watch_prefect(generator.stop),
        ):
            with handle_signals(generator.stop):
                outcomes = await generator.generate_batch(
                    requests, concurrency=options.concurrency, stop_on_error=options.stop_on_error
                )
    except ConvoforgeError as error:
        return Failed(message=point_further(one_line(error)), data=error)
    summary = summarize(outcomes)
    rows = [_row(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]
    try:
        await acreate_table_artifact(
            rows, key="generate-requests", description=f"{summary.successful} of {summary.total} generated"
        )
    except Exception as error:  # noqa: BLE001 - the conversations are in the ledger whether or not Prefect shows them
        get_run_logger().warning("the artifact could not be written: %s", error)
    return await end_state(make_end(summary, simulated=options.simulate))


def make_end(summary: RequestsReport, *, simulated: bool) -> State[Any]:
    """The state that says what happened."""
    paid = " (simulated: nothing was paid)" if simulated else ""
    message = f"{summary.successful} of {summary.total} generated, {show_usd(summary.total_cost_usd)}{paid}"
    mark = " --simulated" if simulated else ""
    if not summary.successful:
        message = f"{message}: {one_line(next(iter(summary.reasons.values())))}"
        return Failed(message=point_further(message, f"convoforge errors {ADHOC}{mark}"), data=summary)
    message = point_further(message, f"convoforge show {ADHOC}{mark}")
    return Completed(name="Completed" if summary.successful == summary.total else "Partial", message=message, data=summary)


def summarize(outcomes: Sequence[Outcome | None]) -> RequestsReport:
    """The summary of a batch's outcomes."""
    begun = [one for one in outcomes if one is not None and not isinstance(one.error, LimiterClosed)]
    made = [one for one in begun if one.conversation is not None]
    lost = {index: one for index, one in enumerate(outcomes) if one is not None and one.conversation is None}
    return RequestsReport(
        total=len(outcomes),
        successful=len(made),
        failed=len(begun) - len(made),
        skipped=len(outcomes) - len(begun),
        total_cost_usd=format_usd(sum((one.cost_usd for one in begun), start=Decimal(0))),
        reasons={index: one.reason for index, one in lost.items()},
        error_types={index: type(one.error).__name__ for index, one in lost.items() if one.error is not None},
        conversation_ids=[one.conversation_id for one in made if one.conversation_id],
    )


def _row(request: ConversationRequest, outcome: Outcome | None) -> dict[str, str]:
    status = "not begun" if outcome is None else outcome.status.value
    return {
        "persona": request.persona,
        "emotion": request.emotion,
        "topic": request.topic,
        "tier": request.tier,
        "status": status,
        "score": str(outcome.quality.score) if outcome and outcome.quality else "-",
        "cost": dollars(outcome.cost_usd) if outcome else "-",
        "reason": outcome.reason if outcome else "",
    }
