"""The client: requests conversations, counts tokens, makes the calls for message batches. The SDK's clients send every call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import anthropic
import httpx2
import orjson

from convoforge.claude.batches import MessageBatches
from convoforge.claude.clouds import list_secrets, make_clients, translate_credentials
from convoforge.claude.errors import make_connection_error, translate
from convoforge.claude.http import make_http_client, make_timeout, split_lines
from convoforge.claude.reading import read_json, read_provider, read_reply, unreadable
from convoforge.claude.stream import assemble_message, is_event_stream
from convoforge.errors import ClaudeAPIError, ConfigError, FatalAPIError
from convoforge.models import Prompt, Provider, Reply
from convoforge.parsing import ANSWER_SCHEMA
from convoforge.planning.model_facts import ModelFacts, merge_facts, pick_facts, snapshot_facts
from convoforge.planning.spec import Generation
from convoforge.planning.thinking import takes_temperature, thinking_of
from convoforge.settings import WITHOUT_MODEL_FACTS, WITHOUT_TOKEN_COUNTS, Api, check_api_address, check_batches

_OLD_VERSION = "2023-06-01"
"""Last API version that accepts a temperature."""

_REWRITTEN = ("bedrock", "vertex")
"""Clouds whose SDK client rewrites a body: it moves the model into the URL and the version into the body."""

_OUTPUT = {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}}
_KEEP = {"type": "ephemeral"}
_CHECK_SECONDS = 30.0
_NOT_COUNTED = ("max_tokens", "temperature")


class Claude:
    """A client for one model with one or more keys. Create it inside a running event loop, and close it. `facts` holds the known
    facts about the model, including the API's own after `check`; `reported` holds only the API's.

    `api` is Anthropic's own or a cloud's. A cloud has one set of credentials, read from the SDK's environment variables, and
    needs no `base_url`. `timeout_seconds` limits a whole call. Raises `ConfigError` for a malformed address or key, and for a
    missing package or setting of a cloud.
    """

    def __init__(
        self,
        keys: Sequence[str],
        base_url: str | None,
        model: str,
        *,
        timeout_seconds: float = 120.0,
        api: Api = "anthropic",
    ) -> None:
        if base_url is not None:
            check_api_address(base_url)
        if api == "anthropic" and not (keys and all(re.fullmatch("[!-~]+", key) for key in keys)):
            raise ConfigError("an API key is empty or holds a character that no key has: check ANTHROPIC_API_KEY")
        self.model = model
        self.facts: ModelFacts = snapshot_facts(model)
        self.reported: Mapping[str, Any] = {}
        self._api = api
        self._keys = tuple(keys) if api == "anthropic" else ()
        self._seconds = timeout_seconds
        http = make_http_client(lambda: self.base_url, secure=urlsplit(base_url or "https:").scheme == "https")
        self._clients = make_clients(api, keys, base_url, http, make_timeout(timeout_seconds))

    @property
    def keys(self) -> int:
        return len(self._clients)

    @property
    def base_url(self) -> str:
        return str(self._clients[0].base_url).rstrip("/")

    async def check(self) -> Provider:
        """Ask the server, at no cost, for the model's facts; returns which provider answers. Clouds without model facts are not
        asked.

        Raises `FatalAPIError` for an unknown model and if all keys are wrong, `TransientError` for an unreachable server.
        """
        if self._api in WITHOUT_MODEL_FACTS:
            return "anthropic"
        for key in range(self.keys - 1):
            try:
                return await self._check(key)
            except FatalAPIError as error:
                if error.status != 401:
                    raise
        return await self._check(self.keys - 1)

    async def _check(self, key: int) -> Provider:
        path = f"/v1/models/{quote(self.model, safe='')}"
        try:
            response = await self._request(key, "GET", path, seconds=_CHECK_SECONDS)
        except anthropic.APIStatusError as refused:
            error = self._translate(refused)
            if refused.status_code in (404, 405, 501) and error.kind != "not_found_error":
                return read_provider(refused.response.headers)  # it serves the Messages API, but no list of models
            if refused.status_code != 404:
                raise error from None
            words = f"the API knows no model '{self.model}': change `model` in the spec"
            raise FatalAPIError(words, status=404, kind="model") from None
        self.reported = pick_facts(read_json(response))
        self.facts = merge_facts(snapshot_facts(self.model), self.reported)
        return read_provider(response.headers)

    def body(self, prompt: Prompt, settings: Generation, *, keep: bool = False) -> dict[str, Any]:
        """Body of a request for one conversation. `keep` marks the system text for the API's prompt cache (five minutes)."""
        system: Any = [{"type": "text", "text": prompt.system, "cache_control": _KEEP}] if keep else prompt.system
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": settings.max_tokens,
            "system": system,
            "messages": [{"role": "user", "content": prompt.message}],
        }
        if self.facts.uses_schema(settings):
            body["output_config"] = (
                _OUTPUT if prompt.schema is None else {"format": {"type": "json_schema", "schema": prompt.schema}}
            )
        thinking_of(self.facts, settings).add_to(body)
        if self.applies_temperature(settings):
            body["temperature"] = settings.temperature
            if self._api in _REWRITTEN:
                body["anthropic_version"] = _OLD_VERSION
        return body

    def applies_temperature(self, settings: Generation) -> bool:
        """Whether the settings have a temperature and the model takes it."""
        return settings.temperature is not None and takes_temperature(self.facts, settings)

    async def send(self, prompt: Prompt, settings: Generation, key: int = 0, *, keep: bool = False) -> Reply:
        body, applied = self.body(prompt, settings, keep=keep), self.applies_temperature(settings)
        response = await self.call("POST", "/v1/messages", key, body=body, old_version=applied)
        return read_reply(self._read_message(response), response, temperature_applied=applied)

    def _read_message(self, response: httpx2.Response) -> Mapping[str, Any]:
        """Body of an answer with a success status. Raises its error if it contains one nevertheless."""
        streamed = is_event_stream(response.content, response.headers.get("content-type", ""))
        message = assemble_message(response.content) if streamed else read_json(response)
        if message is None:
            raise unreadable(response, "it is a stream of events without a message")
        if message.get("type") == "error" or ("error" in message and "content" not in message):
            error = anthropic.APIStatusError(f"an error: {message}", response=response, body=message)
            raise self._translate(error, begun=streamed)
        return message

    async def count_tokens(self, prompt: Prompt, settings: Generation, key: int = 0) -> int:
        """Number of input tokens that a request would be billed for, counted by the API for free. Raises a `ClaudeAPIError`, and
        `ConfigError` for a cloud that cannot count."""
        if self._api in WITHOUT_TOKEN_COUNTS:
            raise ConfigError(f"CONVOFORGE_API={self._api} counts no tokens: leave out --count")
        body = {name: value for name, value in self.body(prompt, settings).items() if name not in _NOT_COUNTED}
        response = await self.call("POST", "/v1/messages/count_tokens", key, body=body)
        counted = read_json(response).get("input_tokens")
        if type(counted) is not int:
            raise unreadable(response, "it counts no tokens")
        return counted

    def message_batches(self, key: int = 0) -> MessageBatches:
        """The message batches of the key with this index. Raises `ConfigError` for a cloud without message batches."""
        check_batches(self._api)
        return MessageBatches(self, key)

    async def call(
        self,
        method: str,
        path: str,
        key: int = 0,
        *,
        body: dict[str, Any] | None = None,
        content: bytes | None = None,
        old_version: bool = False,
        seconds: float | None = None,
    ) -> httpx2.Response:
        """Make one call with the key of this index and return the successful response. Raises a `ClaudeAPIError`."""
        try:
            return await self._request(key, method, path, body=body, content=content, old_version=old_version, seconds=seconds)
        except anthropic.APIStatusError as error:
            raise self._translate(error) from None

    @asynccontextmanager
    async def stream(self, path: str, key: int = 0) -> AsyncIterator[tuple[httpx2.Response, AsyncIterator[bytes]]]:
        """A successful response and its lines as they arrive. Limits pauses, not the total time. Raises a `ClaudeAPIError`."""
        options: anthropic.RequestOptions = {"timeout": make_timeout(self._seconds, read=self._seconds)}
        try:
            stream = await self._clients[key].get(
                path, cast_to=object, options=options, stream=True, stream_cls=anthropic.AsyncStream[object]
            )
        except anthropic.AnthropicError as error:
            raise self._translate(error) from None
        try:
            yield stream.response, split_lines(stream.response.aiter_bytes())
        except httpx2.RequestError as error:
            raise make_connection_error(error, self.base_url, self._secrets) from None
        finally:
            await stream.close()

    async def _request(
        self,
        key: int,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        content: bytes | None = None,
        old_version: bool = False,
        seconds: float | None = None,
    ) -> httpx2.Response:
        """As `call`, but an error status is raised as the SDK's `APIStatusError`."""
        client = self._clients[key]
        options: anthropic.RequestOptions = {"headers": {"anthropic-version": _OLD_VERSION}} if old_version else {}
        if body is not None and self._api not in _REWRITTEN:  # the SDK copies and writes it in 0.1 ms
            body, content = None, orjson.dumps(body)
        try:
            async with asyncio.timeout(seconds or self._seconds):
                if method == "GET":
                    return await client.get(path, cast_to=httpx2.Response, options=options)
                return await client.post(path, cast_to=httpx2.Response, body=body, content=content, options=options)
        except anthropic.APIStatusError:
            raise
        except anthropic.AnthropicError as error:
            raise self._translate(error) from None
        except TimeoutError as error:
            raise make_connection_error(error, self.base_url) from None
        except Exception as error:
            if self._api == "anthropic":
                raise
            raise translate_credentials(self._api, error) from None

    def _translate(self, error: anthropic.AnthropicError, *, begun: bool = False) -> ClaudeAPIError:
        return translate(error, self._secrets, begun=begun)

    @property
    def _secrets(self) -> tuple[str, ...]:
        return list_secrets(self._keys, self._clients)

    async def aclose(self) -> None:
        await self._clients[0].close()
