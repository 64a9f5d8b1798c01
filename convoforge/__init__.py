"""convoforge: training conversations with Claude, at the rate the API allows, with every dollar on record."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from convoforge.api.python import (
        ConversationGenerator,
        RateLimitConfig,
        SyncConversationGenerator,
        calculate_cost,
        cost_summary,
    )
    from convoforge.errors import (
        BudgetExceeded,
        ClaudeAPIError,
        ConfigError,
        ConvoforgeError,
        FatalAPIError,
        GenerationValidationError,
        LedgerError,
        LimiterClosed,
        OverloadError,
        ParseError,
        RateLimitError,
        RejectedError,
        TransientError,
    )
    from convoforge.generation.requests import open_generator
    from convoforge.models import ConversationRequest, Outcome
    from convoforge.planning.spec import DatasetSpec
    from convoforge.settings import Settings

__all__ = [
    "BudgetExceeded",
    "ClaudeAPIError",
    "ConfigError",
    "ConversationGenerator",
    "ConversationRequest",
    "ConvoforgeError",
    "DatasetSpec",
    "FatalAPIError",
    "GenerationValidationError",
    "LedgerError",
    "LimiterClosed",
    "Outcome",
    "OverloadError",
    "ParseError",
    "RateLimitConfig",
    "RateLimitError",
    "RejectedError",
    "Settings",
    "SyncConversationGenerator",
    "TransientError",
    "__version__",
    "calculate_cost",
    "cost_summary",
    "open_generator",
]

_MODULES = {
    "generation.requests": ("open_generator",),
    "models": ("ConversationRequest", "Outcome"),
    "api.python": ("ConversationGenerator", "RateLimitConfig", "SyncConversationGenerator", "calculate_cost", "cost_summary"),
    "settings": ("Settings",),
    "planning.spec": ("DatasetSpec",),
}
_ELSEWHERE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("convoforge")
    if name not in __all__:
        raise AttributeError(f"module 'convoforge' has no attribute '{name}'")
    # anthropic, SQLAlchemy and pydantic take 2 s to import: only when they are used
    return getattr(import_module(f"convoforge.{_ELSEWHERE.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
