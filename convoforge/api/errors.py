"""Errors as HTTP responses: the seed's status codes and names, without internals that do not concern the caller."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from math import ceil
from typing import Any

from pydantic import BaseModel

from convoforge.api.bodies import ErrorBody
from convoforge.errors import (
    BudgetExceeded,
    ClaudeAPIError,
    ConfigError,
    GenerationValidationError,
    LedgerFullError,
    LimiterClosed,
    OverloadError,
    ParseError,
    RateLimitError,
    StaleEdit,
    SteeringError,
    TransientError,
    UnknownConversation,
    nearest,
)
from convoforge.models import Outcome
from convoforge.planning.config_files import find_owner
from convoforge.planning.value_faults import describe_value_fault
from convoforge.settings import ROOT, Settings

INTERNAL = 500

CLIENT_LEFT = 499
"""Status in the log for a request whose caller has left; nginx's number."""

SHOWN = 3
"""Maximum number of faults in the message."""

MAX_FAULTS = 10
"""Maximum number of faults in the details; later ones are dropped."""

MAX_BYTES = 10_000
"""Maximum bytes of the response to bad input: it repeats what the caller sent."""

MAX_MESSAGE = 2_000
"""Maximum characters of an error's message."""

FULL_SECONDS = 10
"""Seconds of Retry-After if the disk is full."""

MAX_NAME = 64
"""Maximum characters shown of a name that the caller sent."""


def hidden_in(settings: Settings) -> dict[str, str]:
    """Keys and folders that no message may show, each with its replacement."""
    folders = {settings.config_dir: "configs", settings.data_dir: "data", ROOT: "."}
    return {**dict.fromkeys(settings.keys, "[key]"), **{str(folder): name for folder, name in folders.items()}}


def explain(error: Exception, hidden: Mapping[str, str], outcome: Outcome | None = None) -> tuple[int, ErrorBody]:
    """The HTTP status and body for an error; `outcome` has its cost and attempts."""
    status, name, details = _classify(error)
    if status == INTERNAL:
        return status, ErrorBody(type=name, message="internal error")
    message = _NO_ANSWER.get(error.kind, str(error)) if isinstance(error, ClaudeAPIError) and error.status is None else str(error)
    for text, shown in hidden.items():
        message = message.replace(text, shown)
    message = _ADDRESS.sub("[address]", message)
    message = clean(message, MAX_MESSAGE)
    paid = {"costUsd": float(outcome.cost_usd), "attempts": outcome.attempts} if outcome else {}
    return status, ErrorBody(type=name, message=message, details={**details, **paid})


def retry_after(error: Exception) -> dict[str, str]:
    """The Retry-After header in whole seconds; empty if the error has no time."""
    seconds = FULL_SECONDS if isinstance(error, LedgerFullError) else getattr(error, "retry_after", None)
    return {} if seconds is None else {"retry-after": str(ceil(seconds))}


def refuse(faults: Sequence[Mapping[str, Any]], expected: type[BaseModel]) -> ErrorBody:
    """The body for an invalid request; `faults` are pydantic's. Shows the first ten, in 10 kB at most."""
    shown = [
        {"field": _name_field(fault), "message": clean(_describe(fault, expected), MAX_NAME * 8)} for fault in faults[:MAX_FAULTS]
    ]
    while True:
        message = "; ".join(f"{one['field']}: {one['message']}".removeprefix(": ") for one in shown[:SHOWN])
        more = "; and more" if len(faults) > min(SHOWN, len(shown)) else ""
        body = ErrorBody(type="ValidationError", message=message + more, details={"fields": shown})
        if len(body.model_dump_json().encode()) < MAX_BYTES or len(shown) == 1:
            return body
        shown.pop()


def clean(text: str, maximum: int) -> str:
    """Make any text safe for a response: printable characters only, at most `maximum`."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: maximum + 1])
    return text if len(text) <= maximum else f"{text[: maximum - 1]}…"


def _classify(error: Exception) -> tuple[int, str, dict[str, Any]]:
    match error:
        case UnknownConversation():
            return 404, "NotFound", {}
        case StaleEdit():
            return 409, "StaleEdit", {}
        case ConfigError():
            return 400, "ValidationError", {}
        case GenerationValidationError():
            return 422, "GenerationValidationError", error.details
        case RateLimitError() | OverloadError(retry_after=float()):
            assert error.retry_after is not None
            return 429, "RateLimitError", {"retryAfter": ceil(error.retry_after * 1000)}  # milliseconds, as the seed has it
        case ParseError():
            return 502, "ParseError", {"content": error.content}
        case ClaudeAPIError():
            details = {"status": error.status, "kind": error.kind, "requestId": error.request_id}
            return 502, "ClaudeAPIError", {**details, "retryable": isinstance(error, TransientError | OverloadError)}
        case BudgetExceeded() | LimiterClosed() | LedgerFullError() | SteeringError():
            return 503, type(error).__name__, {}
    return INTERNAL, "InternalError", {}


def _name_field(fault: Mapping[str, Any]) -> str:
    """`("body", "requests", 3, "persona")` as `requests[3].persona`; empty for the whole body."""
    inside = () if fault["type"] == "json_invalid" else fault["loc"][1:]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{clean(str(part), MAX_NAME)}" for part in inside).lstrip(".")


def _describe(fault: Mapping[str, Any], expected: type[BaseModel]) -> str:
    loc = fault["loc"]
    if fault["type"] == "extra_forbidden":
        name = str(loc[-1])
        return f"unknown field{nearest(name if len(name) <= MAX_NAME else '', field_names(find_owner(expected, loc[1:-1])))}"
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']}, at character {loc[1]}"
    if len(loc) == 1 and fault["type"] != "bound":
        return "send a JSON object, with the header content-type: application/json"
    return describe_value_fault({name: value for name, value in fault.items() if name != "input"})  # which may be a megabyte


@cache
def field_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The documented names of a body's fields. Cached: a schema takes half a millisecond."""
    return tuple(model.model_json_schema().get("properties", ()))


_NO_ANSWER = {
    "unreachable": "the Claude API cannot be reached",
    "timeout": "the Claude API did not answer in time",
    "connection": "the connection to the Claude API broke during the call",
}
"""Messages for callers if the API did not answer: the operators' message contains addresses of the server's network."""

_ADDRESS = re.compile(
    r"https?://[^\s,;)\"'>]+|\[?\b\d{1,3}(?:\.\d{1,3}){3}\b(?:', \d+|:\d+)?|\[[0-9a-fA-F:]*::?[0-9a-fA-F:.]*\](?::\d+)?"
)
