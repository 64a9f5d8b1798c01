"""The values that pass between rooms: frozen, without behaviour beyond arithmetic.

Tokens are integers, money is `Decimal` US dollars, durations are seconds unless a name says `_ms`, times are aware UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from convoforge.errors import ClaudeAPIError, shown

Role = Literal["user", "assistant"]
Purpose = Literal["conversation", "judge"]
"""What a request is for: to generate a conversation, or to judge one."""

Provider = Literal["anthropic", "simulator"]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Frozen(BaseModel):
    """A value: immutable, without keys that nobody reads, without NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BareWord(str):
    """`yes`, `no`, `on` or `off` as a file has it, without quotes: a text for some readers of YAML, true or false for others. A switch
    takes it as true or false, a list of words knows it; a free text or a parameter might mean either, and refuses it."""

    __slots__ = ()

    @property
    def truth(self) -> bool:
        """What it is as a switch."""
        return self.lower() in ("yes", "on")


def _text(value: Any) -> Any:
    if value is None:
        raise ValueError("nothing stands there: give a text")
    if isinstance(value, BareWord):
        raise ValueError(f'{value} without quotes is true or false to some readers of YAML: write "{value}" in quotes')  # noqa: TRY004 - pydantic passes on no TypeError
    if not isinstance(value, str | list | dict):
        raise ValueError(f"{shown(value)} is no text: put it in quotes if it was meant as one")  # noqa: TRY004 - pydantic passes on no TypeError
    return value


def _one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError(f"{shown(value)} holds a line break or a control character: give one line of text")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, BareWord):
        truth = str(value.truth).lower()
        raise ValueError(f'{value} without quotes is {truth} to some readers of YAML: write {truth}, or "{value}" in quotes')  # noqa: TRY004 - pydantic passes on no TypeError
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{shown(value)} is no number to work with: give a finite one")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{shown(value)} is neither text, number nor true/false: was it to be in quotes?")  # noqa: TRY004 - pydantic passes on no TypeError
    if isinstance(value, str) and not value.isascii() and value.encode(errors="replace").decode() != value:
        raise ValueError(f"{shown(value)} holds half a character: it cannot be written down")
    if isinstance(value, str) and len(value) > 2_000:
        raise ValueError(f"a text of {len(value)} characters is too long: 2,000 are allowed")
    return value


Label = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    BeforeValidator(_text),
    AfterValidator(_one_line),
]
"""A line of free text: an axis value, the name of a persona, a tier, a model."""

Scalar = Annotated[str | int | float | bool, BeforeValidator(_scalar)]
"""The value of a parameter."""

ParameterName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    BeforeValidator(_text),
    AfterValidator(_one_line),
]
"""The name of a parameter: as long as a template may declare one."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance. The first of a conversation is the user's."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, and the system prompt a model should be trained under, if the template gives one."""

    turns: tuple[Turn, ...]
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer was billed for, in tokens. `input_tokens` excludes everything cached, as the API's does; `thinking_tokens` are
    those of the `output_tokens` that were thought and not said."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    thinking_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __radd__(self, other: int) -> Usage:
        return self  # sum() starts from 0

    @property
    def cache_write_tokens(self) -> int:
        """Tokens written to the cache, of either lifetime."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens


UNJUDGED = "unjudged"
"""The verdict in place of a judge that has not answered yet."""


@dataclass(frozen=True, slots=True)
class ScorerResult:
    """What one scorer or filter said: `points` out of `maximum`, or a `verdict` (keep, drop, revise, mark, redact); and why, if it falls
    short. A judge says both of each criterion."""

    name: str
    version: int
    points: int | None
    maximum: int | None
    verdict: str | None
    reason: str = ""

    @property
    def why(self) -> str:
        """The reason as a person reads it; a filter's is named after it."""
        if self.verdict is None:
            return self.reason
        return "" if self.verdict == "keep" else f"{self.name}: {self.reason or self.verdict}"


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a conversation is: `score` 1–10, and what each scorer said."""

    score: int
    results: tuple[ScorerResult, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the conversation falls short, in the scorers' order; a filter's is named after it."""
        return tuple(why for one in self.results if (why := one.why))

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the filters that found something and only marked it, or had it redacted."""
        return tuple(one.name for one in self.results if one.verdict in ("mark", "redact"))

    @property
    def redacted(self) -> bool:
        """Whether the conversation is published with pseudonyms."""
        return any(one.verdict == "redact" for one in self.results)

    @property
    def rejection(self) -> tuple[str, str] | None:
        """The strictest verdict of the filters (drop, revise, and `unjudged` where a judge is still to be asked) and why, named after
        the filter; None where all keep it."""
        for verdict in ("drop", "revise", UNJUDGED):
            for one in self.results:
                if one.verdict == verdict:
                    return verdict, one.why
        return None

    @property
    def is_unjudged(self) -> bool:
        """Whether only a judge that is still to be asked keeps it from being accepted."""
        return self.rejection is not None and self.rejection[0] == UNJUDGED

    def points(self, name: str) -> int | None:
        """The points that one scorer gave; None where it gave none."""
        return next((one.points for one in self.results if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent, rendered: the text for the model, and the system turn that the published conversation will carry.

    `shared`: the system text is the same in every request of its template, and so worth keeping in the API's prompt cache. `drawn` are the
    parameters and variation lines in it, as JSON: {"parameters": {...}, "variation": {...}}. `avoid` says what is not to be repeated.
    `schema` is the JSON schema of the answer, where that is no conversation.
    """

    system: str
    user: str
    conversation_system: str | None = None
    shared: bool = False
    drawn: str = field(default="", compare=False)
    avoid: str = field(default="", compare=False)
    schema: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def message(self) -> str:
        """The user turn, as it is sent."""
        return f"{self.user}\n\n{self.avoid}" if self.avoid else self.user


class ConversationRequest(Frozen):
    """One conversation to make: the seed's request, in this project's words.

    `parameters` fill the template's declared parameters. `max_tokens` bounds the answer. `temperature` is sent where the model
    takes it and recorded as not applied where it does not.
    """

    template: Label
    persona: Label
    emotion: Label
    topic: Label
    tier: Label = "template"
    parameters: Mapping[ParameterName, Scalar] = Field(default_factory=dict, max_length=100)
    max_tokens: int | None = Field(default=None, ge=256, le=21_000)
    temperature: float | None = Field(default=None, ge=0, le=1)


class AnswerKind(StrEnum):
    """What an answer turned out to be: a conversation (`OK`), a judge's answer (`JUDGED`), or a dropped draw, with this as the reason."""

    OK = "ok"
    JUDGED = "judged"
    PARSE_ERROR = "parse_error"
    INVALID = "invalid"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    CONTEXT_OVERFLOW = "context_overflow"


class Status(StrEnum):
    """Where a wanted conversation stands today. Computed, never stored."""

    ACCEPTED = "accepted"
    NEEDS_REVISION = "needs_revision"
    DROPPED = "dropped"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an answer says it was billed by beside its tokens, in the API's words; None where it says nothing."""

    inference_geo: str | None = None
    service_tier: str | None = None
    speed: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the API, as the boundary hands it on.

    `stop_reason` is the API's word; `model` is who answered by its own word, empty where it has none; without `usage_known` no usage
    was told that can be true, and `usage` is nothing; `rate_headers` hold what the API announced about its limits; `provider` is who
    signed it.
    """

    text: str
    stop_reason: str | None
    usage: Usage
    request_id: str | None
    provider: Provider
    model: str
    rate_headers: Mapping[str, str] = field(default_factory=dict)
    refusal_category: str | None = None
    temperature_applied: bool = False
    usage_known: bool = True
    terms: Terms = Terms()


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of a request that was sent, beside its answer: its fingerprint, the template's version, the system turn to
    publish, the temperature that was wished for, and the prompt's parameters and variation lines."""

    fingerprint: str
    template_version: str
    conversation_system: str | None
    temperature: float | None
    drawn: str = ""


@dataclass(frozen=True, slots=True)
class BatchState:
    """A message batch as the API describes it. `status` is the API's word. `requests` counts all its requests, `counts` by what became
    of them (processing, succeeded, errored, canceled, expired); both are empty where the API gives none. `archived`: its results are
    deleted."""

    id: str
    status: str
    ended: bool
    requests: int | None
    counts: Mapping[str, int]
    created_at: datetime | None
    ended_at: datetime | None
    archived: bool
    provider: Provider


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one request of a message batch: a reply, or the error that it met. Only a reply is billed."""

    custom_id: str
    reply: Reply | None = None
    error: Exception | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line among the results that is no result. `custom_id` is the name that can still be read in it. `in_place_of_one`: it is a JSON
    object or begins as one, so that a result may have been meant. `cut`: it is the last line, and its end is missing."""

    error: ClaudeAPIError
    custom_id: str | None
    in_place_of_one: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: the conversation and its quality, or why there is none; and what it cost (US dollars).
    `model` is the one that answered."""

    status: Status
    kind: AnswerKind | None = None
    conversation: Conversation | None = None
    quality: Quality | None = None
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    attempts: int = 0
    duration_ms: int = 0
    reason: str = ""
    conversation_id: str | None = None
    model: str | None = None
    api_request_id: str | None = None
    provider: Provider | None = None
    finished_at: datetime | None = None
    temperature_applied: bool = False
    error: Exception | None = None
