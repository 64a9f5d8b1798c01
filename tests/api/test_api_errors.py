"""Every error of ours has its status, and nothing else gets out."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from convoforge import errors
from convoforge.api.errors import explain, hidden_in, retry_after
from convoforge.models import Outcome, Status
from convoforge.settings import Settings

EXPECTED = {
    "ConfigError": (400, "ValidationError"),
    "UnknownConversation": (404, "NotFound"),
    "StaleEdit": (409, "StaleEdit"),
    "SteeringError": (503, "SteeringError"),
    "GenerationValidationError": (422, "GenerationValidationError"),
    "RateLimitError": (429, "RateLimitError"),
    "ParseError": (502, "ParseError"),
    "ClaudeAPIError": (502, "ClaudeAPIError"),
    "TransientError": (502, "ClaudeAPIError"),
    "UnreadableError": (502, "ClaudeAPIError"),
    "OverloadError": (502, "ClaudeAPIError"),
    "RejectedError": (502, "ClaudeAPIError"),
    "FatalAPIError": (502, "ClaudeAPIError"),
    "BudgetExceeded": (503, "BudgetExceeded"),
    "LimiterClosed": (503, "LimiterClosed"),
    "LedgerError": (500, "InternalError"),
    "LedgerFullError": (503, "LedgerFullError"),
    "ConvoforgeError": (500, "InternalError"),
}


def kinds(root: type[errors.ConvoforgeError] = errors.ConvoforgeError) -> Iterator[type[errors.ConvoforgeError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def made(kind: type[Exception], message: str) -> Exception:
    options: dict[str, Any] = {"retry_after": 0.2} if kind is errors.RateLimitError else {}
    return kind(message, **options)


@pytest.mark.parametrize("kind", {kind.__name__: kind for kind in kinds()}.values(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_the_seed_s_name(kind: type[Exception]) -> None:
    status, body = explain(made(kind, "what happened"), {})
    assert (status, body.type) == EXPECTED[kind.__name__]
    assert body.message == ("internal error" if status == 500 else "what happened")


def test_a_fault_of_ours_says_nothing_of_itself() -> None:
    status, body = explain(KeyError("/srv/secret"), {}, Outcome(status=Status.FAILED))
    assert (status, body.message, body.details) == (500, "internal error", {})


def test_keys_and_folders_are_taken_out_of_messages() -> None:
    settings = Settings(api_key="sk-one,sk-two", config_dir=Path("/srv/convoforge/configs"), data_dir=Path("/var/convoforge"))
    error = errors.ConfigError("/srv/convoforge/configs/templates/x.yaml: sk-two is no sk-one; see /var/convoforge/ledger.db")
    _, body = explain(error, hidden_in(settings))
    assert body.message == "configs/templates/x.yaml: [key] is no [key]; see data/ledger.db"


def test_what_was_paid_before_an_error_is_among_its_details() -> None:
    outcome = Outcome(status=Status.DROPPED, cost_usd=Decimal("0.0345"), attempts=2)
    _, body = explain(errors.ParseError("no JSON", content="Sorry"), {}, outcome)
    assert body.details == {"content": "Sorry", "costUsd": 0.0345, "attempts": 2}


@pytest.mark.parametrize(("seconds", "header", "milliseconds"), [(0.2, "1", 200), (5.0, "5", 5000), (5.0001, "6", 5001)])
def test_retry_after_is_in_whole_seconds_rounded_up(seconds: float, header: str, milliseconds: int) -> None:
    error = errors.RateLimitError("full", retry_after=seconds)
    assert retry_after(error) == {"retry-after": header}
    assert explain(error, {})[1].details == {"retryAfter": milliseconds}
