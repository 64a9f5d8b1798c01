"""What the SDK can raise, as errors of ours: every class of it, proved by reflection in the tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import aiohttp
import anthropic
import httpx2

from convoforge.claude.account import says_account_at_its_end
from convoforge.errors import ClaudeAPIError, DoomError, OverloadError, RejectedError, TransientError

_DOOM_CODES = {
    "contract_spend_limit_reached": "the spend limit of the account is reached",
    "enforced_spend_limit_reached": "the spend limit of the account is reached",
    "organization_on_hold": "the organization is on hold",
    "cmek_key_disabled": "the workspace's encryption key is disabled",
    "cmek_key_network_blocked": "the workspace's encryption key cannot be reached",
}
"""Causes for which no request can work, whatever their status says."""

AT_ITS_END = "the account cannot pay, or a limit that it has set is reached"

_NOT_REACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError, aiohttp.InvalidURL)


def translate(error: anthropic.AnthropicError, keys: Sequence[str] = ()) -> ClaudeAPIError:
    """The error of ours for one of the SDK's. `keys` are in none of its texts: a server may echo what it was sent."""
    if isinstance(error, anthropic.APIConnectionError):
        url, timed_out = error.request.url, isinstance(error, anthropic.APITimeoutError)
        return lost(TimeoutError() if timed_out else error, f"{url.scheme}://{url.netloc.decode()}", keys)
    if isinstance(error, anthropic.APIResponseValidationError):
        return TransientError(f"the API sent something unreadable: {line(error, keys)}", kind="bad_body", maybe_billed=True)
    if isinstance(error, anthropic.APIStatusError):
        return _of_status(error, keys)
    if isinstance(error, anthropic.RetryableError):
        return TransientError(line(error, keys), kind="retryable")
    if isinstance(error, anthropic.CredentialsError):
        return DoomError(f"no usable API key: {line(error, keys)}", kind="credentials")
    return DoomError(f"the SDK refused the call: {line(error, keys)}", kind=type(error).__name__)


def lost(error: Exception, where: str, keys: Sequence[str] = ()) -> TransientError:
    """The error of ours where no answer came from the server at `where`; `error` is aiohttp's. What never got there billed nothing."""
    if isinstance(error, _NOT_REACHED):
        words = f"no answer from {where}: nothing listens there, or the network is down ({line(error, keys)})"
        return TransientError(words, kind="unreachable")
    if isinstance(error, TimeoutError):
        return TransientError("the API did not answer in time", kind="timeout", maybe_billed=True)
    return TransientError(f"no answer from {where}: the connection broke during the call", kind="connection", maybe_billed=True)


def _of_status(error: anthropic.APIStatusError, keys: Sequence[str]) -> ClaudeAPIError:
    status = error.status_code
    code = line(error.error_code or "", keys, 64)
    kind = line(error.type or type(error).__name__, keys, 64)
    said = line(error.api_message or error.message, keys)
    told: dict[str, Any] = {
        "status": status,
        "kind": kind,
        "request_id": line(error.request_id, keys, 128) if error.request_id else None,
        "retry_after": _retry_after(error.response.headers),
        "details": {"error_code": code} if code else None,
        # 499: cut off while it went on; below 300: an error inside a stream that began well
        "maybe_billed": status == 499 or status < 300,
    }
    if code in _DOOM_CODES:
        return DoomError(f"{_DOOM_CODES[code]} ({status}): {said}", **told)
    if 300 <= status < 400:
        where = line(error.response.headers.get("location", "nowhere"), keys, 128)
        return DoomError(
            f"the server sends one elsewhere ({status}), to {where}: set ANTHROPIC_BASE_URL to the API's own address", **told
        )
    if isinstance(error, anthropic.PaymentRequiredError) or _account_at_its_end(status, kind, said, told["retry_after"]):
        return DoomError(f"{AT_ITS_END} ({status}): {said}", **told)
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


def _account_at_its_end(status: int, kind: str, said: str, retry_after: float | None) -> bool:
    """A 429 that says when to come back is about a rate, whatever it calls it."""
    if status == 429 and retry_after is not None and kind != "billing_error":
        return False
    return says_account_at_its_end(kind, said, refusal=400 <= status < 500 and status != 429)


def line(said: object, keys: Sequence[str], most: int = 400) -> str:
    """What somebody else said, fit for a message and for a column of the ledger: one line, without our keys, cut."""
    text = str(said).encode(errors="replace").decode()
    for key in keys:
        text = text.replace(key, "[key]")
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
