"""The client: one conversation asked for, tokens counted, a batch's calls. The SDK's headers and reading of errors."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import anthropic
import httpx2
import orjson

from convoforge.claude.connection import Connection, HttpAnswer
from convoforge.claude.errors import translate
from convoforge.claude.reading import bad_body, provider_of, read_json, read_reply
from convoforge.claude.stream import is_event_stream, put_together
from convoforge.errors import ClaudeAPIError, ConfigError, FatalAPIError
from convoforge.models import Prompt, Provider, Reply
from convoforge.parsing import ANSWER_SCHEMA
from convoforge.planning.model_facts import ModelFacts, merge_facts, pick_facts, snapshot_facts
from convoforge.planning.spec import Generation
from convoforge.planning.thinking import takes_temperature, thinking_of
from convoforge.settings import check_api_address

SIMULATOR_KEY = "sk-simulated"
_OLD_VERSION = {"anthropic-version": "2023-06-01"}  # the last one that takes a temperature
_OUTPUT = {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}}
_KEEP = {"type": "ephemeral"}
_CHECK_SECONDS = 30.0
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")
_NOT_COUNTED = ("max_tokens", "temperature")


class Claude:
    """A client for one model under one or more keys. Made inside a running event loop; close it. `facts` are what is known of the model,
    from the API itself once `check` has asked it; `told` is what it said.

    `timeout_seconds` is for a call from its beginning to its end. Raises `ConfigError` for an address or a key that can be none.
    """

    def __init__(
        self,
        keys: Sequence[str],
        base_url: str,
        model: str,
        *,
        timeout_seconds: float = 120.0,
    ) -> None:
        check_api_address(base_url)
        if not keys or not all(re.fullmatch("[!-~]+", key) for key in keys):
            raise ConfigError("an API key is empty or holds a character that no key has: check ANTHROPIC_API_KEY")
        self.model = model
        self.facts: ModelFacts = snapshot_facts(model)
        self.told: Mapping[str, Any] = {}
        self._keys = tuple(keys)
        first = anthropic.AsyncAnthropic(api_key=keys[0], base_url=base_url, http_client=_mute(), open_telemetry=False)
        self._clients = [first, *(first.with_options(api_key=key) for key in keys[1:])]
        self._headers = [_headers(client) for client in self._clients]
        self._connection = Connection(f"{first.base_url}".rstrip("/") + "/", seconds=timeout_seconds, secrets=self._keys)

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    async def check(self) -> Provider:
        """Who answers at the base URL, at no cost, and what it says of the model: also finds a wrong key, an unknown model, a server that
        is not there.

        Raises `FatalAPIError` for the first two (only if all keys are wrong), and `TransientError` for the last.
        """
        for key in range(self.keys - 1):
            try:
                return await self._check(key)
            except FatalAPIError as error:
                if error.status != 401:
                    raise
        return await self._check(self.keys - 1)

    async def _check(self, key: int) -> Provider:
        path = f"v1/models/{quote(self.model, safe='')}"
        answer = await self._connection.call("GET", path, self._headers[key][False], seconds=_CHECK_SECONDS)
        if not answer.succeeded:
            error = self._refusal(answer, key)
            if answer.status in (404, 405, 501) and error.kind != "not_found_error":
                return provider_of(answer.headers)  # a server that speaks Messages, but keeps no list of models
            if answer.status != 404:
                raise error
            words = f"the API knows no model '{self.model}': change `model` in the spec"
            raise FatalAPIError(words, status=404, kind="model")
        self.told = pick_facts(read_json(answer))
        self.facts = merge_facts(snapshot_facts(self.model), self.told)
        return provider_of(answer.headers)

    def body(self, prompt: Prompt, settings: Generation, *, keep: bool = False) -> dict[str, Any]:
        """What asks for one conversation. With `keep` the system text is marked for the API's prompt cache, for five minutes."""
        system: Any = [{"type": "text", "text": prompt.system, "cache_control": _KEEP}] if keep else prompt.system
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": settings.max_tokens,
            "system": system,
            "messages": [{"role": "user", "content": prompt.user}],
        }
        if self.facts.uses_schema(settings):
            body["output_config"] = _OUTPUT
        thinking_of(self.facts, settings).add_to(body)
        if self.applies_temperature(settings):
            body["temperature"] = settings.temperature
        return body

    def applies_temperature(self, settings: Generation) -> bool:
        """Whether a temperature is asked for and sent."""
        return settings.temperature is not None and takes_temperature(self.facts, settings)

    async def send(self, prompt: Prompt, settings: Generation, key: int = 0, *, keep: bool = False) -> Reply:
        """One conversation asked for. Raises a `ClaudeAPIError`; an answer of any kind is a `Reply`."""
        content, applied = orjson.dumps(self.body(prompt, settings, keep=keep)), self.applies_temperature(settings)
        answer = await self.call("POST", "v1/messages", key, content, old_version=applied)
        return read_reply(self._message(answer, key), answer, temperature_applied=applied)

    def _message(self, answer: HttpAnswer, key: int) -> Mapping[str, Any]:
        """The body of an answer that succeeded. Raises what it says where it is an error all the same."""
        streamed = is_event_stream(answer.body, answer.headers.get("content-type", ""))
        message = put_together(answer.body) if streamed else read_json(answer)
        if message is None:
            raise bad_body(answer, "it is a stream of events without a message")
        if message.get("type") == "error" or ("error" in message and "content" not in message):
            told = replace(answer, body=json.dumps(message).encode())
            raise self._refusal(told, key, begun=streamed)
        return message

    async def count_tokens(self, prompt: Prompt, settings: Generation, key: int = 0) -> int:
        """The input tokens that a request would be billed for, by the API's own free count. Raises a `ClaudeAPIError`."""
        body = {name: value for name, value in self.body(prompt, settings).items() if name not in _NOT_COUNTED}
        answer = await self.call("POST", "v1/messages/count_tokens", key, orjson.dumps(body))
        counted = read_json(answer).get("input_tokens")
        if type(counted) is not int:
            raise bad_body(answer, "it counts no tokens")
        return counted

    async def call(
        self,
        method: str,
        path: str,
        key: int = 0,
        content: bytes | None = None,
        *,
        old_version: bool = False,
        seconds: float | None = None,
    ) -> HttpAnswer:
        """One call under the key at place `key`, as an answer that succeeded. Raises a `ClaudeAPIError`."""
        answer = await self._connection.call(method, path, self._headers[key][old_version], content, seconds)
        if not answer.succeeded:
            raise self._refusal(answer, key)
        return answer

    @asynccontextmanager
    async def stream(self, path: str, key: int = 0) -> AsyncIterator[tuple[HttpAnswer, AsyncIterator[bytes]]]:
        """An answer that succeeded, with its lines still to come, without an end to the time that takes. Raises a `ClaudeAPIError`."""
        async with self._connection.stream(path, self._headers[key][False]) as (answer, lines):
            if not answer.succeeded:
                raise self._refusal(answer, key)
            yield answer, lines

    def _refusal(self, answer: HttpAnswer, key: int, *, begun: bool = False) -> ClaudeAPIError:
        """An answer that did not succeed, as the SDK reads it. `begun`: a message had begun before."""
        nowhere = httpx2.Request("POST", self._clients[key].base_url)
        # bytes, as httpx2 takes no text but ASCII; and nothing of how the body came: it is unpacked already
        told = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items() if name not in _OF_THE_BODY]
        response = httpx2.Response(answer.status, headers=told, content=answer.body, request=nowhere)
        error = self._clients[key]._make_status_error_from_response(response)  # noqa: SLF001 - the SDK's own reading
        return translate(error, self._keys, begun=begun)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()


def _mute() -> httpx2.AsyncClient:
    """A client for the SDK that sends nothing: what is sent goes by `Connection`."""

    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.UnsupportedProtocol("the SDK's own connection is not used", request=request)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(refuse))


def _headers(client: anthropic.AsyncAnthropic) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What the SDK sends with a call; and the same with the version of the API that takes a temperature."""
    told = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    return told, {**told, **_OLD_VERSION}
