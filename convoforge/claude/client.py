"""The client: one conversation asked for, tokens counted, a batch's calls. The SDK's connection, headers and reading of errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anthropic
import httpx2
import orjson

from convoforge.capabilities import takes_temperature, uses_schema
from convoforge.claude.errors import late, translate
from convoforge.claude.reading import bad_body, provider_of, read_json, read_reply
from convoforge.errors import ConfigError, DoomError, shown
from convoforge.models import Prompt, Provider, Reply
from convoforge.parsing import ANSWER_SCHEMA
from convoforge.spec import Generation

SIMULATOR_KEY = "sk-simulated"
_OLD_VERSION = {"anthropic-version": "2023-06-01"}  # the last one that takes a temperature
_OUTPUT = {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}}
_KEEP = {"type": "ephemeral"}
_CONNECT_SECONDS = 10.0
_NOT_COUNTED = ("max_tokens", "temperature")


class Claude:
    """A client for one model under one or more keys. Made inside a running event loop; close it.

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
        _check_address(base_url)
        if not keys or not all(re.fullmatch("[!-~]+", key) for key in keys):
            raise ConfigError("an API key is empty or holds a character that no key has: check ANTHROPIC_API_KEY")
        self.model = model
        self._keys = tuple(keys)
        self._seconds = timeout_seconds
        timeout = anthropic.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds / 2))
        self._http = anthropic.DefaultAioHttpClient(trust_env=not is_loopback(base_url))  # never to oneself by way of a proxy
        first = anthropic.AsyncAnthropic(
            api_key=keys[0],
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=self._http,
            open_telemetry=False,
        )
        self._clients = [first, *(first.with_options(api_key=key) for key in keys[1:])]
        self._root = first.base_url
        self._headers = [_headers(client) for client in self._clients]
        self._extensions = {"timeout": timeout.as_dict()}

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    async def check(self, settings: Generation) -> Provider:
        """Who answers at the base URL, at no cost: also finds a wrong key, an unknown model, a server that is not there.

        Raises `DoomError` for the first two (only if all keys are wrong), `TransientError` for the last, and `ConfigError` where the
        model does not take what would be sent.
        """
        for client in self._clients[:-1]:
            try:
                return await self._check(client, settings)
            except DoomError as error:
                if error.status != 401:
                    raise
        return await self._check(self._clients[-1], settings)

    async def _check(self, client: anthropic.AsyncAnthropic, settings: Generation) -> Provider:
        try:
            raw = await client.models.with_raw_response.retrieve(self.model, timeout=30.0)
        except anthropic.APIStatusError as error:
            if error.status_code in (404, 405, 501) and error.type != "not_found_error":
                return provider_of(error.response.headers)  # a server that speaks Messages, but keeps no list of models
            if error.status_code != 404:
                raise translate(error, self._keys) from None
            words = f"the API knows no model '{self.model}': change `model` in the spec"
            raise DoomError(words, status=404, kind="model") from None
        except anthropic.AnthropicError as error:
            raise translate(error, self._keys) from None
        try:
            support = read_json(raw.http_response)["capabilities"]["structured_outputs"]["supported"]
        except (KeyError, TypeError):
            support = None
        if uses_schema(self.model, settings) and support is False:
            raise ConfigError(
                f"model '{self.model}' takes no structured output: set `generation: {{structured: false}}` in the spec"
            )
        return provider_of(raw.http_response.headers)

    def body(self, prompt: Prompt, settings: Generation, *, keep: bool = False) -> dict[str, Any]:
        """What asks for one conversation. With `keep` the system text is marked for the API's prompt cache, for five minutes."""
        system: Any = [{"type": "text", "text": prompt.system, "cache_control": _KEEP}] if keep else prompt.system
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": settings.max_tokens,
            "system": system,
            "messages": [{"role": "user", "content": prompt.user}],
        }
        if uses_schema(self.model, settings):
            body["output_config"] = _OUTPUT
        if self.applies_temperature(settings):
            body["temperature"] = settings.temperature
        return body

    def applies_temperature(self, settings: Generation) -> bool:
        """Whether a temperature is asked for and sent."""
        return settings.temperature is not None and takes_temperature(self.model)

    async def send(self, prompt: Prompt, settings: Generation, key: int = 0, *, keep: bool = False) -> Reply:
        """One conversation asked for. Raises a `ClaudeAPIError`; an answer of any kind is a `Reply`."""
        content, applied = orjson.dumps(self.body(prompt, settings, keep=keep)), self.applies_temperature(settings)
        async with self.call("POST", "v1/messages", key, content, old_version=applied) as response:
            return read_reply(read_json(response), response, temperature_applied=applied)

    async def count_tokens(self, prompt: Prompt, settings: Generation, key: int = 0) -> int:
        """The input tokens that a request would be billed for, by the API's own free count. Raises a `ClaudeAPIError`."""
        body = {name: value for name, value in self.body(prompt, settings).items() if name not in _NOT_COUNTED}
        async with self.call("POST", "v1/messages/count_tokens", key, orjson.dumps(body)) as response:
            counted = read_json(response).get("input_tokens")
            if type(counted) is not int:
                raise bad_body(response, "it counts no tokens")
            return counted

    @asynccontextmanager
    async def call(
        self,
        method: str,
        path: str,
        key: int = 0,
        content: bytes | None = None,
        *,
        old_version: bool = False,
        streamed: bool = False,
        seconds: float | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """One call under the key at place `key`, as a response that succeeded; a `streamed` one has its body still to come, without
        an end to the time that takes. Raises a `ClaudeAPIError`.

        The SDK's connection, headers and errors, without what it does anew for each call: that was two thirds of a call's CPU
        (1.65 ms for `messages.create`, 0.99 ms for the SDK's `post`, 0.48 ms so; measured).
        """
        client, headers, url = self._clients[key], self._headers[key][old_version], self._root.join(path)
        request = httpx2.Request(method, url, headers=headers, content=content, extensions=self._extensions)
        response: httpx2.Response | None = None
        try:
            # The HTTP client's time-out begins anew with every byte that comes.
            async with asyncio.timeout(None if streamed else seconds or self._seconds):
                response = await self._http.send(request, stream=streamed)
                if streamed and not response.is_success:
                    await response.aread()
            if not response.is_success:
                raise translate(client._make_status_error_from_response(response), self._keys)  # noqa: SLF001 - the SDK's own reading
            yield response
        except TimeoutError:
            raise late() from None
        except (httpx2.HTTPError, httpx2.StreamError, aiohttp.ClientError, OSError) as error:
            timed_out = isinstance(error, httpx2.TimeoutException)
            fault = (anthropic.APITimeoutError if timed_out else anthropic.APIConnectionError)(request=request)
            fault.__cause__ = error
            raise translate(fault, self._keys) from None
        finally:
            if streamed and response is not None:
                await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._clients[0].close()


def _headers(client: anthropic.AsyncAnthropic) -> tuple[httpx2.Headers, httpx2.Headers]:
    """What the SDK sends with a call; and the same with the version of the API that takes a temperature."""
    told = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    return httpx2.Headers(told), httpx2.Headers({**told, **_OLD_VERSION})


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_address(base_url: str) -> None:
    try:
        url = httpx2.URL(base_url)
        fine = url.scheme in ("http", "https") and url.host and not url.userinfo
    except httpx2.InvalidURL:
        fine = False
    if not fine:
        found = "" if "@" in base_url else f" (found {shown(base_url)})"  # what stands before an @ may be a password
        raise ConfigError(f"ANTHROPIC_BASE_URL is no address of an API: give http(s)://HOST[:PORT]{found}")
