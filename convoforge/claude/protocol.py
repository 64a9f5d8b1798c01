"""The model client that generation needs. `Claude` is the only implementation; another vendor's would be one more class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from convoforge.models import BatchResult, BatchState, Prompt, Provider, Reply, UnreadableLine
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.spec import Generation


class MessageBatchClient(Protocol):
    """The message batches of one key. Every method raises a `ClaudeAPIError`."""

    def request(self, custom_id: str, prompt: Prompt, settings: Generation, *, keep: bool = False) -> bytes:
        """Serialize one request of a batch."""

    async def create(self, requests: Sequence[bytes], settings: Generation) -> BatchState:
        """Create a batch."""

    async def retrieve(self, batch_id: str) -> BatchState:
        """Current state of a batch."""

    def list_since(self, moment: datetime) -> AsyncIterator[BatchState]:
        """Yield the batches created at or after `moment`, newest first."""

    def results(self, batch_id: str, settings: Generation) -> AsyncGenerator[BatchResult | UnreadableLine]:
        """Stream the results of an ended batch. An unreadable line does not end the stream."""


class ModelClient(Protocol):
    """A client for one model with one or more keys. Calls raise a `ClaudeAPIError`."""

    model: str
    facts: ModelFacts
    reported: Mapping[str, Any]

    @property
    def keys(self) -> int:
        """Number of keys."""

    @property
    def base_url(self) -> str:
        """Base URL of requests."""

    async def check(self) -> Provider:
        """Ask the server, at no cost, which provider it is; sets `facts` and `reported`."""

    async def send(self, prompt: Prompt, settings: Generation, key: int = 0, *, keep: bool = False) -> Reply:
        """Request one conversation. Returns any kind of answer as a `Reply`."""

    async def count_tokens(self, prompt: Prompt, settings: Generation, key: int = 0) -> int:
        """Number of input tokens that a request would be billed for. Raises `ConfigError` if the API cannot count."""

    def message_batches(self, key: int = 0) -> MessageBatchClient:
        """The message batches of the key with this index. Raises `ConfigError` if the API has none."""
