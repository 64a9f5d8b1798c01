"""Turns outcomes and errors into response bodies, and into responses that can always be encoded."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from convoforge.api.bodies import (
    BatchData,
    BatchItem,
    Breakdown,
    ConversationBody,
    ErrorBody,
    Generated,
    Metadata,
    Summary,
)
from convoforge.api.errors import INTERNAL, explain, retry_after
from convoforge.generation.requests import name_in_batch
from convoforge.models import ConversationRequest, Outcome, Status
from convoforge.planning.spec import AXES
from convoforge.viewer.pages import error_page, wants_page

_LOG = logging.getLogger(__name__)
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class ApiResponse(JSONResponse):
    """A JSON response that can always be encoded: a lone surrogate becomes a question mark."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")


class ErrorResponse(ApiResponse):
    """An error as JSON; to a browser that asks for a page, as one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if wants_page(scope):
            headers = {name: value for name, value in self.headers.items() if name not in ("content-type", "content-length")}
            await error_page(self.status_code, json.loads(bytes(self.body))["error"]["message"], headers)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def generated(request: ConversationRequest, outcome: Outcome, model: str, name: str) -> Generated | None:
    """The body for an outcome with a conversation; None for an outcome without."""
    conversation, quality = outcome.conversation, outcome.quality
    if conversation is None or quality is None:
        return None
    assert outcome.conversation_id
    assert outcome.provider
    assert outcome.finished_at
    return Generated(
        data=ConversationBody(
            conversation_id=outcome.conversation_id,
            template_id=request.template,
            **{name: getattr(request, name) for name in AXES},
            system=conversation.system,
            turns=list(conversation.turns),
        ),
        metadata=Metadata(
            status="generated" if outcome.status is Status.ACCEPTED else "needs_revision",
            quality_score=quality.score,
            quality_breakdown=Breakdown(
                **{name: quality.points(name) for name in ("turns", "length", "structure")},
                reasons=list(quality.reasons),
                scorers=list(quality.results),
            ),
            cost_usd=float(outcome.cost_usd),
            duration_ms=outcome.duration_ms,
            **{name: getattr(outcome.usage, name) for name in _TOKENS},
            attempts=outcome.attempts,
            temperature_applied=None if request.temperature is None else outcome.temperature_applied,
            model=outcome.model or model,
            provider=outcome.provider,
            api_request_id=outcome.api_request_id,
            request_id=name,
            generated_at=outcome.finished_at,
        ),
    )


def batch_data(
    request: Request, requests: Sequence[ConversationRequest], outcomes: Sequence[Outcome | None], model: str, batch: str
) -> BatchData:
    """The results of a batch in the order of its requests, and their summary."""
    results = [
        _item(request, asked, outcome, model, name_in_batch(batch, index))
        for index, (asked, outcome) in enumerate(zip(requests, outcomes, strict=True))
    ]
    counts = {status: sum(item.status == status for item in results) for status in ("failed", "skipped")}
    summary = Summary(
        total=len(results),
        successful=len(results) - sum(counts.values()),
        **counts,
        total_cost=float(sum((outcome.cost_usd for outcome in outcomes if outcome), start=Decimal(0))),
    )
    return BatchData(batch_id=batch, summary=summary, results=results)


def all_failed(request: Request, data: BatchData, outcomes: Sequence[Outcome | None]) -> ApiResponse:
    """The response to a batch in which no request succeeded: the worst status of its failures, and the longest Retry-After."""
    errors = [outcome.error for outcome in outcomes if outcome and outcome.error]
    worst = max(errors, key=lambda error: explain(error, {})[0])
    status, body = explain(worst, request.app.state.hidden)
    why = ErrorBody(
        type=body.type,
        message=f"none of the {data.summary.total} requests brought a conversation; the worst error: {body.message}",
        details={"failed": data.summary.failed, "skipped": data.summary.skipped, "costUsd": data.summary.total_cost},
    )
    headers = max((retry_after(error) for error in errors), key=lambda one: int(one.get("retry-after", 0)))
    return ApiResponse({"error": _plain(why), "data": _plain(data)}, status, headers)


def failure(request: Request, error: Exception | None, outcome: Outcome | None = None) -> ApiResponse:
    """The response for an error; an internal error is logged with its traceback."""
    status, body = _explained(request, error, outcome)
    return show_error(status, body, retry_after(error) if error else {})


def refusal(status: int, type: str, message: str, headers: Mapping[str, str] | None = None) -> ApiResponse:
    """The response for a refused request, with the error's type."""
    return show_error(status, ErrorBody(type=type, message=message), headers)


def show_error(status: int, error: ErrorBody, headers: Mapping[str, str] | None = None) -> ApiResponse:
    """The response for an error body."""
    return ErrorResponse({"error": _plain(error)}, status, headers)


def _item(request: Request, asked: ConversationRequest, outcome: Outcome | None, model: str, name: str) -> BatchItem:
    if outcome is None:
        return BatchItem(status="skipped")
    body = generated(asked, outcome, model, name)
    if body is None:
        return BatchItem(status="failed", error=_explained(request, outcome.error, outcome)[1])
    return BatchItem(status=body.metadata.status, data=body.data, metadata=body.metadata)


def _explained(request: Request, error: Exception | None, outcome: Outcome | None = None) -> tuple[int, ErrorBody]:
    error = error or RuntimeError("an outcome with neither conversation nor error")
    status, body = explain(error, request.app.state.hidden, outcome)
    if status == INTERNAL:
        _LOG.error("%s failed", request.url.path, exc_info=error)
    return status, body


def success(body: Any, status: int = 201, headers: Mapping[str, str] | None = None) -> ApiResponse:
    """The response for a body."""
    return ApiResponse(_plain(body), status, headers)


def _plain(body: Any) -> Any:
    return body.model_dump(mode="json", by_alias=True)
