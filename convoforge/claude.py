"""The one boundary to the Claude API. All that the SDK can raise leaves here as an error of ours, an answer of any kind as a `Reply`.

The SDK's own retries are off: `retry` is the only policy. The key is in the client and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import anthropic
import httpx2
import orjson

from convoforge.capabilities import takes_temperature, uses_schema
from convoforge.errors import ClaudeAPIError, ConfigError, DoomError, OverloadError, RejectedError, TransientError
from convoforge.models import Prompt, Provider, Reply, Usage
from convoforge.parsing import ANSWER_SCHEMA
from convoforge.spec import Generation

SIMULATOR_HEADER = "x-convoforge-simulator"
SIMULATOR_KEY = "sk-simulated"
_OLD_VERSION = {"anthropic-version": "2023-06-01"}  # the last one that takes a temperature
_SPEND_LIMITS = {"EnforcedSpendLimitReachedError", "ContractSpendLimitReachedError"}
_OUTPUT = {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}}
_RATE_PREFIX = "anthropic-ratelimit-"


class Claude:
    """A client for one model under one or more keys. Made inside a running event loop; close it."""

    def __init__(
        self,
        keys: Sequence[str],
        base_url: str,
        model: str,
        *,
        timeout_seconds: float = 120.0,
    ) -> None:
        self.model = model
        self._keys = tuple(keys)
        self._http = anthropic.DefaultAioHttpClient()
        first = anthropic.AsyncAnthropic(
            api_key=keys[0],
            base_url=base_url,
            max_retries=0,
            timeout=timeout_seconds,
            http_client=self._http,
            open_telemetry=False,
        )
        self._clients = [first, *(first.with_options(api_key=key) for key in keys[1:])]

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    async def check(self, settings: Generation) -> Provider:
        """Who answers at the base URL, at no cost: also finds a wrong key, an unknown model, a server that is not there.

        Raises `DoomError` for the first two, `TransientError` for the last, and `ConfigError` where the model does not take what
        would be sent.
        """
        try:
            raw = await self._clients[0].models.with_raw_response.retrieve(self.model, timeout=30.0)
        except anthropic.NotFoundError as error:
            if error.type != "not_found_error":  # a server that speaks Messages, but keeps no list of models
                return _provider(error.response.headers)
            words = f"the API knows no model '{self.model}': change `model` in the spec"
            raise DoomError(words, status=404, kind="model") from None
        except anthropic.AnthropicError as error:
            raise self._translate(error) from None
        body = _json(raw.http_response)
        support = ((body.get("capabilities") or {}).get("structured_outputs") or {}).get("supported")
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
        try:
            # The SDK's own `post`: connection, key, errors as in `messages.create`, without its walks over body and answer,
            # which are a third of a call's CPU (1.65 → 1.1 ms, measured) and end in a value we read only once.
            response = await self._clients[key].post(
                "/v1/messages",
                content=orjson.dumps(body),
                cast_to=httpx2.Response,
                options={"headers": _OLD_VERSION} if warm else {},
            )
        except anthropic.AnthropicError as error:
            raise self._translate(error) from None
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
        answer = _json(response)
        try:
            return Reply(
                text="".join(block["text"] for block in answer["content"] if block["type"] == "text"),
                stop_reason=answer["stop_reason"],
                usage=read_usage(answer["usage"]),
                request_id=headers.get("request-id"),
                provider=_provider(headers),
                model=answer["model"],
                rate_headers={name: value for name, value in headers.items() if name.startswith(_RATE_PREFIX)},
                refusal_category=(answer.get("stop_details") or {}).get("category"),
                temperature_applied=warm,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise _bad_body(response, f"a field is missing: {error}") from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._clients[0].close()

    def _translate(self, error: anthropic.AnthropicError) -> ClaudeAPIError:
        translated = translate(error)
        text = str(translated)
        for key in self._keys:  # a server may echo what it was sent
            text = text.replace(key, "[key]")
        translated.args = (text,)
        return translated


def translate(error: anthropic.AnthropicError) -> ClaudeAPIError:
    """The error of ours for one of the SDK's."""
    if isinstance(error, anthropic.APITimeoutError):
        return TransientError("the API did not answer in time", kind="timeout", maybe_billed=True)
    if isinstance(error, anthropic.APIConnectionError):
        refused = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
        words = "nothing listens there, or the network is down" if refused else "the connection broke during the call"
        return TransientError(
            f"no answer from {error.request.url.copy_with(path='/', query=None)}: {words}",
            kind="unreachable" if refused else "connection",
            maybe_billed=not refused,
        )
    if isinstance(error, anthropic.APIResponseValidationError):
        return TransientError(f"the API sent something unreadable: {error}", kind="bad_body", maybe_billed=True)
    if isinstance(error, anthropic.APIStatusError):
        return _of_status(error)
    if isinstance(error, anthropic.CredentialsError):
        return DoomError(f"no usable API key: {error}", kind="credentials")
    if isinstance(error, anthropic.RetryableError):
        return TransientError(str(error), kind="retryable")
    return RejectedError(f"the SDK refused the call: {error}", kind=type(error).__name__)


def _of_status(error: anthropic.APIStatusError) -> ClaudeAPIError:
    status = error.status_code
    kind = error.type or type(error).__name__
    said = error.api_message or error.message
    told: dict[str, Any] = {
        "status": status,
        "kind": kind,
        "request_id": error.request_id,
        "retry_after": _retry_after(error.response.headers),
        "details": {"error_code": error.error_code} if error.error_code else None,
    }
    if type(error).__name__ in _SPEND_LIMITS:
        return DoomError(f"the spend limit of the account is reached: {said}", **told)
    match error:
        case anthropic.AuthenticationError():
            return DoomError(f"the API refused the key (401): {said}. Check ANTHROPIC_API_KEY", **told)
        case anthropic.PaymentRequiredError():
            return DoomError(f"the account cannot pay (402): {said}", **told)
        case anthropic.PermissionDeniedError():
            return DoomError(f"the key may not do this (403): {said}", **told)
        case anthropic.NotFoundError() if "model" in said.lower():
            return DoomError(f"unknown model (404): {said}", **told)
        case anthropic.RateLimitError() | anthropic.OverloadedError():
            return OverloadError(f"the API has no room ({status}): {said}", **told)
        case anthropic.RequestTimeoutError() | anthropic.ConflictError() | anthropic.InternalServerError():
            return TransientError(f"the API failed ({status}): {said}", **told)
        case anthropic.ClientClosedRequestError():
            return TransientError(f"the call was cut off ({status}): {said}", **told, maybe_billed=True)
    if status < 400:  # an error inside a stream that began well
        words = f"the answer broke off ({kind}): {said}"
        overloaded = kind in ("overloaded_error", "rate_limit_error")
        return (OverloadError if overloaded else TransientError)(words, **told, maybe_billed=True)
    if status >= 500:
        return TransientError(f"the API failed ({status}): {said}", **told)
    return RejectedError(f"the API refused the request ({status}): {said}", **told)


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """The API's usage block as a value. A cache write without a lifetime is one of five minutes."""
    written = usage.get("cache_creation_input_tokens") or 0
    by_life = usage.get("cache_creation") or {}
    one_hour = by_life.get("ephemeral_1h_input_tokens") or 0
    return Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=usage.get("cache_read_input_tokens") or 0,
        cache_write_5m_tokens=written - one_hour,
        cache_write_1h_tokens=one_hour,
    )


def _json(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        raise _bad_body(response, "it is not JSON") from None
    if not isinstance(body, dict):
        raise _bad_body(response, "it is no JSON object")
    return cast(dict[str, Any], body)


def _bad_body(response: httpx2.Response, why: str) -> TransientError:
    return TransientError(
        f"the API answered {response.status_code} with something unreadable: {why}",
        status=response.status_code,
        kind="bad_body",
        request_id=response.headers.get("request-id"),
        maybe_billed=True,
    )


def _provider(headers: Mapping[str, str]) -> Provider:
    return "simulator" if SIMULATOR_HEADER in headers else "anthropic"


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
