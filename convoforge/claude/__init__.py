"""The boundary to the Claude API, and the only package that imports the SDK. Every SDK error leaves here as one of our errors,
every answer as a `Reply`. `protocol` is the interface for the packages above.

The SDK's own retries are off: `retry` is the only policy. The keys are in the client and nowhere else.
"""

from convoforge.claude.batches import MessageBatches
from convoforge.claude.client import SIMULATOR_KEY, Claude
from convoforge.claude.errors import translate
from convoforge.claude.http import is_loopback
from convoforge.claude.protocol import MessageBatchClient, ModelClient
from convoforge.claude.reading import SIMULATOR_HEADER, read_usage

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
