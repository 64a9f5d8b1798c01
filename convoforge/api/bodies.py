"""What comes in and what goes out as JSON: the seed's names, in camelCase. Requests may write snake_case as well.

Money is in US dollars as a JSON number, durations are milliseconds, times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from convoforge.generation.requests import MAX_IN_A_BATCH
from convoforge.models import ConversationRequest, Label, Provider, ScorerResult, Turn
from convoforge.planning.templates import Parameter

_ANSWER = ConfigDict(
    frozen=True,
    extra="forbid",
    allow_inf_nan=False,
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    from_attributes=True,
)
_REQUEST = _ANSWER | ConfigDict(strict=True, from_attributes=False)

T = TypeVar("T")


class Answer(BaseModel):
    """A JSON object that goes out. It can be made of any value that has its fields."""

    model_config = _ANSWER


class Data(Answer, Generic[T]):
    """What was asked for."""

    data: T


class GenerateBody(ConversationRequest):
    """One conversation to make. `templateId` is a template's name or id, as `GET /api/templates` lists them."""

    model_config = _REQUEST

    template: Label = Field(validation_alias=AliasChoices("templateId", "template_id", "template"))


class BatchOptions(BaseModel):
    """How a batch is worked off: how many requests at a time, and whether the first failure keeps the rest from being begun."""

    model_config = _REQUEST

    concurrency: int = Field(default=3, ge=1, le=MAX_IN_A_BATCH)
    stop_on_error: bool = False


class BatchBody(BaseModel):
    """1 to 100 conversations to make."""

    model_config = _REQUEST

    requests: list[GenerateBody] = Field(min_length=1, max_length=MAX_IN_A_BATCH)
    options: BatchOptions = BatchOptions()


class ConversationBody(Answer):
    """A conversation, and what was asked for. `system` is what a model should be trained under."""

    conversation_id: str
    template_id: str
    persona: str
    emotion: str
    topic: str
    tier: str
    system: str | None
    turns: list[Turn]


class Breakdown(Answer):
    """The parts of a score, and why points were lost. `scorers` has them all; the first three are null where they did not score."""

    turns: int | None
    length: int | None
    structure: int | None
    reasons: list[str]
    scorers: list[ScorerResult]


class Metadata(Answer):
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


class Generated(Data[ConversationBody]):
    """The answer to a request, with its conversation."""

    metadata: Metadata


class ErrorBody(Answer):
    """What went wrong. `details` differ by type; `costUsd` among them is what was paid nevertheless."""

    type: str
    message: str
    details: dict[str, Any] = {}


class Failure(Answer):
    """The one shape of every error."""

    error: ErrorBody


class BatchItem(Answer):
    """What became of one request of a batch: a conversation, or an error, or neither where it was skipped."""

    status: Literal["generated", "needs_revision", "failed", "skipped"]
    data: ConversationBody | None = None
    metadata: Metadata | None = None
    error: ErrorBody | None = None


class Summary(Answer):
    """A batch in figures. `totalCost` (US dollars) counts what failed after it was paid, too."""

    total: int
    successful: int
    failed: int
    skipped: int
    total_cost: float


class BatchData(Answer):
    """The results are in the order of the requests. `GET /api/batches/{batchId}` has the summary again."""

    batch_id: str
    summary: Summary
    results: list[BatchItem]


class BatchKept(Answer):
    """A batch of the past: its summary, and the ids its requests are found by. `finishedAt` is null while it is under way, and where
    its caller left."""

    batch_id: str
    started_at: datetime
    finished_at: datetime | None
    summary: Summary
    request_ids: list[str]


class BatchFailed(Data[BatchData]):
    """The answer to a batch of which nothing succeeded: why, and each failure at its index. The status is that of the worst one."""

    error: ErrorBody


class RateBody(Answer):
    """Where the rate stands: `remaining` requests before the limit, which grows at `resetAt` (now, where nothing is used);
    `queueLength` requests wait, `waitingForCache` of them for one that fills the prompt cache first."""

    used: int
    remaining: int
    reset_at: datetime
    queue_length: int
    waiting_for_cache: int
    is_paused: bool


class TemplateBody(Answer):
    """A template: `templateId` takes its `id` or its `name`."""

    id: str
    name: str
    version: int
    description: str
    tiers: list[str]
    parameters: dict[str, Parameter]


class Health(Answer):
    """The process serves. `trying`: the last requests failed for a reason that concerned all, and the next one shows whether it lasts."""

    status: Literal["ok", "trying"] = "ok"
    model: str
    reason: str | None = None
