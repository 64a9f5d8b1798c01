"""What generation needs of whoever answers: a client for one model. `Claude` is the one there is; another vendor's is one more class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from convoforge.models import BatchResult, BatchState, Prompt, Provider, Reply, UnreadableLine
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.spec import Generation


class MessageBatchClient(Protocol):
    """The message batches of one key. Everything raises a `ClaudeAPIError`."""

    def request(self, custom_id: str, prompt: Prompt, settings: Generation, *, keep: bool = False) -> bytes:
        """One request of a batch, as it is handed over."""

    async def create(self, requests: Sequence[bytes], settings: Generation) -> BatchState:
        """Hand over a batch."""

    async def retrieve(self, batch_id: str) -> BatchState:
        """Where a batch stands."""

    def list_since(self, moment: datetime) -> AsyncIterator[BatchState]:
        """The batches created from a moment on, newest first."""

    def results(self, batch_id: str, settings: Generation) -> AsyncGenerator[BatchResult | UnreadableLine]:
        """What became of a batch's requests, as it streams in. A line that cannot be read ends nothing."""


class ModelClient(Protocol):
    """A client for one model under one or more keys. Calls raise a `ClaudeAPIError`."""

    model: str
    facts: ModelFacts
    reported: Mapping[str, Any]

    @property
    def keys(self) -> int:
        """How many keys there are."""

    @property
    def base_url(self) -> str:
        """Where requests go."""

    async def check(self) -> Provider:
        """Who answers, at no cost; `facts` and `reported` are known then."""

    async def send(self, prompt: Prompt, settings: Generation, key: int = 0, *, keep: bool = False) -> Reply:
        """One conversation requested; an answer of any kind is a `Reply`."""

    async def count_tokens(self, prompt: Prompt, settings: Generation, key: int = 0) -> int:
        """The input tokens that a request would be billed for. Raises `ConfigError` where nobody counts them."""

    def message_batches(self, key: int = 0) -> MessageBatchClient:
        """The message batches of the key with this index. Raises `ConfigError` where there are none."""
