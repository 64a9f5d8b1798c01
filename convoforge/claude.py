"""The one boundary to the Claude API. All that the SDK can raise leaves here as an error of ours, an answer of any kind as a `Reply`.

The SDK's own retries are off: `retry` is the only policy. The key is in the client and nowhere else.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import anthropic
import httpx2
import orjson

from convoforge.capabilities import takes_temperature, uses_schema
from convoforge.errors import ClaudeAPIError, ConfigError, DoomError, OverloadError, RejectedError, TransientError, shown
from convoforge.models import Prompt, Provider, Reply, Usage
from convoforge.parsing import ANSWER_SCHEMA
from convoforge.spec import Generation

SIMULATOR_HEADER = "x-convoforge-simulator"
SIMULATOR_KEY = "sk-simulated"
_OLD_VERSION = {"anthropic-version": "2023-06-01"}  # the last one that takes a temperature
_OUTPUT = {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}}
_RATE_PREFIX = "anthropic-ratelimit-"
_CONNECT_SECONDS = 10.0

_DOOM_CODES = {
    "contract_spend_limit_reached": "the spend limit of the account is reached",
    "enforced_spend_limit_reached": "the spend limit of the account is reached",
    "organization_on_hold": "the organization is on hold",
    "cmek_key_disabled": "the workspace's encryption key is disabled",
    "cmek_key_network_blocked": "the workspace's encryption key cannot be reached",
}
"""Causes for which no request can work, whatever their status says."""


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
        self._url = first.base_url.join("v1/messages")
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
                return _provider(error.response.headers)  # a server that speaks Messages, but keeps no list of models
            if error.status_code != 404:
                raise translate(error, self._keys) from None
            words = f"the API knows no model '{self.model}': change `model` in the spec"
            raise DoomError(words, status=404, kind="model") from None
        except anthropic.AnthropicError as error:
            raise translate(error, self._keys) from None
        try:
            support = _json(raw.http_response)["capabilities"]["structured_outputs"]["supported"]
        except (KeyError, TypeError):
            support = None
        if uses_schema(self.model, settings) and support is False:
            raise ConfigError(
                f"model '{self.model}' takes no structured output: set `generation: {{structured: false}}` in the spec"
            )
        return _provider(raw.http_response.headers)

    async def send(self, prompt: Prompt, settings: Generation, key: int = 0) -> Reply:
        """One conversation asked for. Raises a `ClaudeAPIError`; an answer of any kind is a `Reply`."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": settings.max_tokens,
            "system": prompt.system,
            "messages": [{"role": "user", "content": prompt.user}],
        }
        if uses_schema(self.model, settings):
            body["output_config"] = _OUTPUT
        warm = settings.temperature is not None and takes_temperature(self.model)
        if warm:
            body["temperature"] = settings.temperature
        response = await self._post(orjson.dumps(body), self._clients[key], self._headers[key][warm])
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
        answer = _json(response)
        try:
            return Reply(
                text="".join(block["text"] for block in answer["content"] if block["type"] == "text"),
                stop_reason=_word(answer["stop_reason"], 64),
                usage=read_usage(answer["usage"]),
                request_id=_word(headers.get("request-id"), 128),
                provider=_provider(headers),
                model=answer["model"],
                rate_headers={name: value for name, value in headers.items() if name.startswith(_RATE_PREFIX)},
                refusal_category=_word((answer.get("stop_details") or {}).get("category"), 64),
                temperature_applied=warm,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise _bad_body(response, f"a field is missing or is not what it should be: {error}") from None

    async def _post(self, content: bytes, client: anthropic.AsyncAnthropic, headers: httpx2.Headers) -> httpx2.Response:
        """The SDK's connection, headers and errors, without what it does anew for each call: that was two thirds of a call's CPU
        (1.65 ms for `messages.create`, 0.99 ms for the SDK's `post`, 0.48 ms so; measured)."""
        request = httpx2.Request("POST", self._url, headers=headers, content=content, extensions=self._extensions)
        try:
            # The HTTP client's time-out begins anew with every byte that comes.
            async with asyncio.timeout(self._seconds):
                response = await self._http.send(request)
        except TimeoutError:
            raise _late() from None
        except (httpx2.HTTPError, httpx2.StreamError, aiohttp.ClientError, OSError) as error:
            late = isinstance(error, httpx2.TimeoutException)
            fault = (anthropic.APITimeoutError if late else anthropic.APIConnectionError)(request=request)
            fault.__cause__ = error
            raise translate(fault, self._keys) from None
        if not response.is_success:
            raise translate(client._make_status_error_from_response(response), self._keys)  # noqa: SLF001 - the SDK's own reading
        return response

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


def translate(error: anthropic.AnthropicError, keys: Sequence[str] = ()) -> ClaudeAPIError:
    """The error of ours for one of the SDK's. `keys` are in none of its texts: a server may echo what it was sent."""
    if isinstance(error, anthropic.APIConnectionError):  # a time-out is one, too
        return _of_connection(error, keys)
    if isinstance(error, anthropic.APIResponseValidationError):
        return TransientError(f"the API sent something unreadable: {_line(error, keys)}", kind="bad_body", maybe_billed=True)
    if isinstance(error, anthropic.APIStatusError):
        return _of_status(error, keys)
    if isinstance(error, anthropic.RetryableError):
        return TransientError(_line(error, keys), kind="retryable")
    if isinstance(error, anthropic.CredentialsError):
        return DoomError(f"no usable API key: {_line(error, keys)}", kind="credentials")
    return DoomError(f"the SDK refused the call: {_line(error, keys)}", kind=type(error).__name__)


def _of_connection(error: anthropic.APIConnectionError, keys: Sequence[str]) -> TransientError:
    cause = error.__cause__
    url = error.request.url
    where = f"no answer from {url.scheme}://{url.netloc.decode()}"
    # The SDK's transport says ConnectError also where the connection was lost during the call; aiohttp, below it, tells them apart.
    if isinstance(cause, httpx2.ConnectTimeout) or isinstance(getattr(cause, "__cause__", None), aiohttp.ClientConnectorError):
        words = f"{where}: nothing listens there, or the network is down ({_line(cause, keys)})"
        return TransientError(words, kind="unreachable")
    if isinstance(error, anthropic.APITimeoutError):
        return _late()
    return TransientError(f"{where}: the connection broke during the call", kind="connection", maybe_billed=True)


def _of_status(error: anthropic.APIStatusError, keys: Sequence[str]) -> ClaudeAPIError:
    status = error.status_code
    code = _line(error.error_code or "", keys, 64)
    kind = _line(error.type or type(error).__name__, keys, 64)
    said = _line(error.api_message or error.message, keys)
    told: dict[str, Any] = {
        "status": status,
        "kind": kind,
        "request_id": _line(error.request_id, keys, 128) if error.request_id else None,
        "retry_after": _retry_after(error.response.headers),
        "details": {"error_code": code} if code else None,
        # 499: cut off while it went on; below 300: an error inside a stream that began well
        "maybe_billed": status == 499 or status < 300,
    }
    if code in _DOOM_CODES:
        return DoomError(f"{_DOOM_CODES[code]} ({status}): {said}", **told)
    if kind == "billing_error" or isinstance(error, anthropic.PaymentRequiredError):
        return DoomError(f"the account cannot pay ({status}): {said}", **told)
    if code == "request_body_timeout":
        return TransientError(f"the request did not get through ({status}): {said}", **told)
    match error:
        case anthropic.AuthenticationError():
            return DoomError(f"the API refused the key ({status}): {said}. Check ANTHROPIC_API_KEY", **told)
        case anthropic.PermissionDeniedError():
            return DoomError(f"the key may not do this ({status}): {said}", **told)
        case anthropic.NotFoundError() if "model" in said.lower():
            return DoomError(f"unknown model ({status}): {said}", **told)
        case anthropic.RateLimitError() | anthropic.OverloadedError():
            return OverloadError(f"the API has no room ({status}): {said}", **told)
        case anthropic.RequestTimeoutError() | anthropic.ConflictError():
            return TransientError(f"the API failed ({status}): {said}", **told)
        case anthropic.ClientClosedRequestError():
            return TransientError(f"the call was cut off ({status}): {said}", **told)
    if status < 300:
        overloaded = kind in ("overloaded_error", "rate_limit_error")
        return (OverloadError if overloaded else TransientError)(f"the answer broke off ({kind}): {said}", **told)
    if status >= 500:
        return TransientError(f"the API failed ({status}): {said}", **told)
    return RejectedError(f"the API refused the request ({status}): {said}", **told)


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """The API's usage block as a value. A cache write without a lifetime is one of five minutes.

    Raises `KeyError`, `TypeError` or `AttributeError` where it is none.
    """
    by_life = usage.get("cache_creation") or {}
    one_hour = _tokens(by_life.get("ephemeral_1h_input_tokens") or 0)
    five_minutes = _tokens(by_life.get("ephemeral_5m_input_tokens") or 0)
    written = _tokens(usage.get("cache_creation_input_tokens") or 0)
    return Usage(
        input_tokens=_tokens(usage["input_tokens"]),
        output_tokens=_tokens(usage["output_tokens"]),
        cache_read_tokens=_tokens(usage.get("cache_read_input_tokens") or 0),
        cache_write_5m_tokens=max(five_minutes, written - one_hour),
        cache_write_1h_tokens=one_hour,
    )


def _tokens(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("usage holds something else than numbers of tokens")
    return value


def _word(value: object, most: int) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} stands where a word should")
    return value and value[:most]


def _line(said: object, keys: Sequence[str], most: int = 400) -> str:
    """What somebody else said, fit for a message and for a column of the ledger: one line, without our keys, cut."""
    text = str(said).encode(errors="replace").decode()
    for key in keys:
        text = text.replace(key, "[key]")
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _json(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        raise _bad_body(response, "it is not JSON") from None
    if not isinstance(body, dict):
        raise _bad_body(response, "it is no JSON object")
    return cast(dict[str, Any], body)


def _late() -> TransientError:
    return TransientError("the API did not answer in time", kind="timeout", maybe_billed=True)


def _bad_body(response: httpx2.Response, why: str) -> TransientError:
    return TransientError(
        f"the API answered {response.status_code} with something unreadable: {why}",
        status=response.status_code,
        kind="bad_body",
        request_id=_word(response.headers.get("request-id"), 128),
        maybe_billed=True,
    )


def _provider(headers: Mapping[str, str]) -> Provider:
    return "simulator" if SIMULATOR_HEADER in headers else "anthropic"


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _check_address(base_url: str) -> None:
    try:
        url = httpx2.URL(base_url)
        fine = url.scheme in ("http", "https") and url.host and not url.userinfo
    except httpx2.InvalidURL:
        fine = False
    if not fine:
        found = "" if "@" in base_url else f" (found {shown(base_url)})"  # what stands before an @ may be a password
        raise ConfigError(f"ANTHROPIC_BASE_URL is no address of an API: give http(s)://HOST[:PORT]{found}")
