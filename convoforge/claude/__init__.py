"""The one boundary to the Claude API, and the only room that knows the SDK. All that the SDK can raise leaves here as an error of
ours, an answer of any kind as a `Reply`. `protocol` is what the rooms above see of it.

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
