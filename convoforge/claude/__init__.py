"""The boundary to the Claude API, and the only package that imports the SDK. Every SDK error leaves here as one of our errors,
every answer as a `Reply`. `protocol` is the interface for the packages above.

The SDK's own retries are off: `retry` is the only policy. The keys are in the client and nowhere else.
"""

from typing import TYPE_CHECKING, Any

from convoforge.claude.http import is_loopback
from convoforge.claude.protocol import MessageBatchClient, ModelClient
from convoforge.claude.reading import SIMULATOR_HEADER, SIMULATOR_KEY, read_usage

if TYPE_CHECKING:
    from convoforge.claude.batches import MessageBatches
    from convoforge.claude.client import Claude
    from convoforge.claude.errors import translate

__all__ = [
    "SIMULATOR_HEADER",
    "SIMULATOR_KEY",
    "Claude",
    "MessageBatchClient",
    "MessageBatches",
    "ModelClient",
    "is_loopback",
    "read_usage",
    "translate",
]


_LATE = {"Claude": "client", "MessageBatches": "batches", "translate": "errors"}
"""What needs the SDK, which takes more than a second to import: a run is under way before its first call needs it."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'convoforge.claude' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"convoforge.claude.{_LATE[name]}"), name)
