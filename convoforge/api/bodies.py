"""What comes in and what goes out as JSON: the seed's names, in camelCase. Requests may write snake_case as well.

Money is in US dollars as a JSON number, durations are milliseconds, times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from convoforge.generation.requests import MAX_IN_A_BATCH
from convoforge.models import ConversationRequest, Label, Provider, Role

_WIRE = ConfigDict(
    frozen=True,
    extra="forbid",
    strict=True,
    allow_inf_nan=False,
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
)


class Wire(BaseModel):
    """A JSON object, strict about names and types."""

    model_config = _WIRE


class GenerateBody(ConversationRequest):
    """One conversation to make. `templateId` is a template's name or id, as `GET /api/templates` lists them."""

    model_config = _WIRE

    template: Label = Field(validation_alias=AliasChoices("templateId", "template_id", "template"))


class BatchOptions(Wire):
    """How a batch is worked off: so many at a time; and whether the first failure keeps the rest from being begun."""

    concurrency: int = Field(default=3, ge=1, le=MAX_IN_A_BATCH)
    stop_on_error: bool = False


class BatchBody(Wire):
    """1 to 100 conversations to make."""

    requests: list[GenerateBody] = Field(min_length=1, max_length=MAX_IN_A_BATCH)
    options: BatchOptions = BatchOptions()


class TurnBody(Wire):
    """One utterance."""

    role: Role
    content: str


class ConversationBody(Wire):
    """A conversation, and what was asked for. `system` is what a model should be trained under."""

    conversation_id: str
    template_id: str
    persona: str
    emotion: str
    topic: str
    tier: str
    system: str | None
    turns: list[TurnBody]


class ScorerBody(Wire):
    """What one scorer gave, `points` out of `maximum`, or what a filter ruled (`verdict`: keep, drop, revise), and why."""

    name: str
    version: int
    points: int | None
    maximum: int | None
    verdict: str | None
    reason: str


class Breakdown(Wire):
    """The parts of a score, and why points were lost. `scorers` has them all; the first three are null where they did not score."""

    turns: int | None
    length: int | None
    structure: int | None
    reasons: list[str]
    scorers: list[ScorerBody]


class Metadata(Wire):
    """How good a conversation is, and what it cost.

    `status` is the seed's: `generated` from the accepted score upwards, else `needs_revision`. `inputTokens` excludes cached ones.
    `temperatureApplied` is null where none was asked for, and false where the model takes none. `requestId` finds it again:
    `GET /api/conversations/{requestId}`, as the conversation's id does.
    """

    status: Literal["generated", "needs_revision"]
    quality_score: int
    quality_breakdown: Breakdown
    cost_usd: float
    duration_ms: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    attempts: int
    temperature_applied: bool | None
    model: str
    provider: Provider
    api_request_id: str | None
    request_id: str
    generated_at: datetime


class Generated(Wire):
    """The answer to a request that brought a conversation."""

    data: ConversationBody
    metadata: Metadata


class ErrorBody(Wire):
    """What went wrong. `details` differ by type; `costUsd` among them is what was paid nevertheless."""

    type: str
    message: str
    details: dict[str, Any] = {}


class Failure(Wire):
    """The one shape of every error."""

    error: ErrorBody


class BatchItem(Wire):
    """What became of one request of a batch: a conversation, or an error, or neither where it was skipped."""

    status: Literal["generated", "needs_revision", "failed", "skipped"]
    data: ConversationBody | None = None
    metadata: Metadata | None = None
    error: ErrorBody | None = None


class Summary(Wire):
    """A batch in figures. `totalCost` (US dollars) counts what failed after it was paid, too."""

    total: int
    successful: int
    failed: int
    skipped: int
    total_cost: float


class BatchData(Wire):
    """The results are in the order of the requests. `GET /api/batches/{batchId}` tells the summary again."""

    batch_id: str
    summary: Summary
    results: list[BatchItem]


class BatchKept(Wire):
    """A batch of the past: its summary, and the ids its requests are found by. `finishedAt` is null while it is under way, and where
    its caller left."""

    batch_id: str
    started_at: datetime
    finished_at: datetime | None
    summary: Summary
    request_ids: list[str]


class BatchesKept(Wire):
    """The newest batches."""

    data: list[BatchKept]


class BatchFound(Wire):
    """One batch."""

    data: BatchKept


class BatchDone(Wire):
    """The answer to a batch of which something succeeded. Failures stand in their places."""

    data: BatchData


class BatchFailed(Wire):
    """The answer to a batch of which nothing succeeded: why, and each failure in its place. The status is that of the worst one."""

    error: ErrorBody
    data: BatchData


class RateBody(Wire):
    """Where the rate stands: `remaining` requests before the limit, which grows at `resetAt` (now, where nothing is used);
    `queueLength` requests wait, `waitingForCache` of them for one that fills the prompt cache first."""

    used: int
    remaining: int
    reset_at: datetime
    queue_length: int
    waiting_for_cache: int
    is_paused: bool


class RateDone(Wire):
    """The answer to the question for the rate."""

    data: RateBody


class ParameterBody(Wire):
    """A parameter that a template declares: `values` where only some are taken, `default` where it may be left out."""

    description: str
    values: list[Any] | None
    default: Any


class TemplateBody(Wire):
    """A template: `templateId` takes its `id` or its `name`."""

    id: str
    name: str
    version: int
    description: str
    tiers: list[str]
    parameters: dict[str, ParameterBody]


class TemplatesDone(Wire):
    """The templates that there are."""

    data: list[TemplateBody]


class Health(Wire):
    """The process serves. `trying`: the last requests failed for a reason that concerned all, and the next one shows whether it lasts."""

    status: Literal["ok", "trying"] = "ok"
    model: str
    reason: str | None = None
