"""convoforge: training conversations with Claude, at the rate the API allows, with the books kept to the cent."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convoforge.adhoc import ConversationGenerator, open_generator
    from convoforge.errors import (
        BudgetExceeded,
        ClaudeAPIError,
        ConfigError,
        ConvoforgeError,
        DoomError,
        GateClosed,
        GenerationValidationError,
        LedgerError,
        OverloadError,
        ParseError,
        RateLimitError,
        RejectedError,
        TransientError,
    )
    from convoforge.models import ConversationRequest

__all__ = [
    "BudgetExceeded",
    "ClaudeAPIError",
    "ConfigError",
    "ConversationGenerator",
    "ConversationRequest",
    "ConvoforgeError",
    "DoomError",
    "GateClosed",
    "GenerationValidationError",
    "LedgerError",
    "OverloadError",
    "ParseError",
    "RateLimitError",
    "RejectedError",
    "TransientError",
    "open_generator",
]

_ELSEWHERE = {"ConversationGenerator": "adhoc", "open_generator": "adhoc", "ConversationRequest": "models"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'convoforge' has no attribute '{name}'")
    # anthropic, SQLAlchemy and pydantic take 2 s to import: only when they are used
    return getattr(import_module(f"convoforge.{_ELSEWHERE.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
