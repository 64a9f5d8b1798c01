"""JSON bodies of requests and responses, with the seed's names in camelCase. Requests may use snake_case as well.

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

ANSWER = ConfigDict(
    frozen=True,
    extra="forbid",
    allow_inf_nan=False,
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    from_attributes=True,
)
REQUEST = ANSWER | ConfigDict(strict=True, from_attributes=False)

SIMULATED = "Of a simulated dataset, or of a real one; as the server, if left out."
"""What the parameter `simulated` means, wherever it is."""

T = TypeVar("T")


class Answer(BaseModel):
    """A JSON object in a response. It can be validated from any object with the same attributes."""

    model_config = ANSWER


class Data(Answer, Generic[T]):
    """The requested data."""

    data: T


class GenerateBody(ConversationRequest):
    """A request for one conversation. `templateId` is a template's name or id, as listed by `GET /api/templates`."""

    model_config = REQUEST

    template: Label = Field(validation_alias=AliasChoices("templateId", "template_id", "template"))


class BatchOptions(BaseModel):
    """Options of a batch: number of requests at a time, and whether requests not yet started are skipped after a failure."""

    model_config = REQUEST

    concurrency: int = Field(default=3, ge=1, le=MAX_IN_A_BATCH)
    stop_on_error: bool = False


class BatchBody(BaseModel):
    """A request for 1 to 100 conversations."""

    model_config = REQUEST

    requests: list[GenerateBody] = Field(min_length=1, max_length=MAX_IN_A_BATCH)
    options: BatchOptions = BatchOptions()


class ConversationBody(Answer):
    """A conversation and the values that were requested. `system` is the system prompt to train a model with."""

    conversation_id: str
    template_id: str
    persona: str
    emotion: str
    topic: str
    tier: str
    system: str | None
    turns: list[Turn]


class ListedConversation(Answer):
    """What lists say of a conversation: the values that were requested, what it counts as and why, its score."""

    conversation_id: str
    persona: str
    emotion: str
    topic: str
    tier: str
    template: str
    status: str
    reason: str
    score: int | None


class Breakdown(Answer):
    """The parts of a score, and why points were lost. `scorers` has all parts; the first three are null if not scored."""

    turns: int | None
    length: int | None
    structure: int | None
    reasons: list[str]
    scorers: list[ScorerResult]


class Metadata(Answer):
    """Quality and cost of a conversation.

    `status` is the seed's: `generated` from the minimum score upwards, else `needs_revision`. `inputTokens` excludes cached
    tokens. `temperatureApplied` is null if none was requested, and false if the model takes none. `requestId` can be looked up
    like the conversation's id: `GET /api/conversations/{requestId}`.
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
    """The response to a request that brought a conversation."""

    metadata: Metadata


class ErrorBody(Answer):
    """An error. `details` depend on its type; their `costUsd` is what was paid nevertheless."""

    type: str
    message: str
    details: dict[str, Any] = {}


class Failure(Answer):
    """The body of every error response."""

    error: ErrorBody


class BatchItem(Answer):
    """The result of one request of a batch: a conversation, an error, or neither if it was skipped."""

    status: Literal["generated", "needs_revision", "failed", "skipped"]
    data: ConversationBody | None = None
    metadata: Metadata | None = None
    error: ErrorBody | None = None


class Summary(Answer):
    """Counts and cost of a batch. `totalCost` (US dollars) includes requests that failed after they were paid."""

    total: int
    successful: int
    failed: int
    skipped: int
    total_cost: float


class BatchData(Answer):
    """A batch's results, in the order of its requests. `GET /api/batches/{batchId}` returns the summary again."""

    batch_id: str
    summary: Summary
    results: list[BatchItem]


class BatchKept(Answer):
    """A recorded batch: its summary and its requests' ids. `finishedAt` is null while it runs, and if its caller left early."""

    batch_id: str
    started_at: datetime
    finished_at: datetime | None
    summary: Summary
    request_ids: list[str]


class BatchFailed(Data[BatchData]):
    """The response to a batch in which no request succeeded: the reason, and each failure. The worst failure sets the status."""

    error: ErrorBody


class RateBody(Answer):
    """Current use of the rate limit. `remaining` requests are left before the limit; the number grows at `resetAt` (now, if
    nothing is used). `queueLength` requests wait, `waitingForCache` of them for one that fills the prompt cache first."""

    used: int
    remaining: int
    reset_at: datetime
    queue_length: int
    waiting_for_cache: int
    is_paused: bool


class TemplateBody(Answer):
    """A template. `templateId` accepts its `id` or its `name`."""

    id: str
    name: str
    version: int
    description: str
    tiers: list[str]
    parameters: dict[str, Parameter]


class AuditBody(Answer):
    """An entry of the audit log. `who` is the name of the token, `route` the path with its parameters' names, `object` the id of
    what the request was about, or empty."""

    id: int
    at: datetime
    who: str
    method: str
    route: str
    object: str
    status: int


class Health(Answer):
    """The process serves requests. `trying`: the last requests failed for a common reason, which the next one tests again. `viewing`:
    without a key, it only shows and reviews datasets, with no model."""

    status: Literal["ok", "trying", "viewing"] = "ok"
    model: str | None = None
    reason: str | None = None
