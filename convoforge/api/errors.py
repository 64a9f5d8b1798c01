"""Errors as HTTP answers: the seed's status codes and names, and nothing in them that is not the caller's business."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

from pydantic import BaseModel

from convoforge.api.bodies import BatchOptions, ErrorBody, GenerateBody
from convoforge.errors import (
    BudgetExceeded,
    ClaudeAPIError,
    ConfigError,
    GateClosed,
    GenerationValidationError,
    OverloadError,
    ParseError,
    RateLimitError,
    TransientError,
    nearest,
)
from convoforge.models import Outcome
from convoforge.settings import ROOT, Settings

INTERNAL = 500

SHOWN = 3
"""Faults told in the message; all of them are in the details."""


def hidden_in(settings: Settings) -> dict[str, str]:
    """What no message may show, and what stands in its place: keys and folders."""
    folders = {settings.config_dir: "configs", settings.data_dir: "data", ROOT: "."}
    return {**dict.fromkeys(settings.keys, "[key]"), **{str(folder): name for folder, name in folders.items()}}


def explain(error: Exception, hidden: Mapping[str, str], outcome: Outcome | None = None) -> tuple[int, ErrorBody]:
    """The HTTP status and body for an error; `outcome` tells what was paid before it."""
    status, name, details = _sort(error)
    if status == INTERNAL:
        return status, ErrorBody(type=name, message="internal error")
    message = str(error)
    for text, shown in hidden.items():
        message = message.replace(text, shown)
    paid = {"costUsd": float(outcome.cost_usd), "attempts": outcome.attempts} if outcome else {}
    return status, ErrorBody(type=name, message=message, details={**details, **paid})


def retry_after(error: Exception) -> dict[str, str]:
    """The header that tells when to come back, in whole seconds, where an error knows it."""
    return {"retry-after": str(ceil(error.retry_after))} if isinstance(error, RateLimitError) else {}


def refuse(faults: Iterable[Mapping[str, Any]], expected: type[BaseModel]) -> ErrorBody:
    """The body for a request that is not what was expected; `faults` are pydantic's."""
    fields = [{"field": _place(fault), "message": _say(fault, expected)} for fault in faults]
    message = "; ".join(f"{one['field']}: {one['message']}".removeprefix(": ") for one in fields[:SHOWN])
    more = f"; and {len(fields) - SHOWN} more" if len(fields) > SHOWN else ""
    return ErrorBody(type="ValidationError", message=message + more, details={"fields": fields})


def _sort(error: Exception) -> tuple[int, str, dict[str, Any]]:
    match error:
        case ConfigError():
            return 400, "ValidationError", {}
        case GenerationValidationError():
            return 422, "GenerationValidationError", error.details
        case RateLimitError():
            return 429, "RateLimitError", {"retryAfter": ceil(error.retry_after * 1000)}  # milliseconds, as the seed has it
        case ParseError():
            return 502, "ParseError", {"content": error.content}
        case ClaudeAPIError():
            told = {"status": error.status, "kind": error.kind, "requestId": error.request_id}
            return 502, "ClaudeAPIError", {**told, "retryable": isinstance(error, TransientError | OverloadError)}
        case BudgetExceeded() | GateClosed():
            return 503, type(error).__name__, {}
    return INTERNAL, "InternalError", {}


def _place(fault: Mapping[str, Any]) -> str:
    """`("body", "requests", 3, "persona")` as `requests[3].persona`; empty where it is the whole body."""
    inside = () if fault["type"] == "json_invalid" else fault["loc"][1:]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inside).lstrip(".")


def _say(fault: Mapping[str, Any], expected: type[BaseModel]) -> str:
    loc = fault["loc"]
    if fault["type"] == "extra_forbidden":
        owner = next((model for name, model in _INSIDE.items() if name in loc[:-1]), expected)
        return f"unknown field{nearest(str(loc[-1]), owner.model_json_schema()['properties'])}"
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']}, at character {loc[1]}"
    if len(loc) == 1:
        return "send a JSON object, with the header content-type: application/json"
    return str(fault["msg"]).removeprefix("Value error, ")


_INSIDE: Mapping[str, type[BaseModel]] = {"requests": GenerateBody, "options": BatchOptions}
