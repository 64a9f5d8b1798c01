"""Translates the error answers of the API or a proxy into our errors, by status, by the error's type and text, and by headers.

`docs/api-answers.md` has the whole table. Every error class of the SDK is covered: the tests find them by reflection.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx2

from convoforge.claude.account import is_about_empty_account
from convoforge.errors import ClaudeAPIError, FatalAPIError, OverloadError, RejectedError, TransientError, UnreadableError, span

if TYPE_CHECKING:
    import anthropic

_FATAL_CODES = {
    "contract_spend_limit_reached": "the spend limit of the account is reached",
    "enforced_spend_limit_reached": "the spend limit of the account is reached",
    "organization_on_hold": "the organization is on hold",
    "cmek_key_disabled": "the workspace's encryption key is disabled",
    "cmek_key_network_blocked": "the workspace's encryption key cannot be reached",
}
"""Error codes after which no request can work, whatever the status."""

_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Status for each error type, used where the error has no status of its own (inside a stream, a batch, a 200)."""

CANNOT_PAY = "the account cannot pay, or a limit that it has set is reached"

_TEMPORARY = (408, 409, 421, 423, 425)
"""Refusals that are temporary, and not the request's fault."""

_OWN_REFUSALS = (405, 407, 411, 413, 414, 415, 431)
"""Refusals that a web server itself gives rightly, and will give again."""

_UNKNOWN_MODEL = re.compile(
    r"^model\b|\bmodel\b.*\b(?:not found|not exist|unknown|not available|unavailable|not supported|unsupported|retired)\b"
    r"|\b(?:unknown|invalid|no such|unsupported) model\b",
    re.IGNORECASE,
)

_RETRIED = (TransientError, OverloadError)

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def translate(
    error: anthropic.AnthropicError, keys: Sequence[str] = (), *, begun: bool = False, now: Callable[[], float] = time.time
) -> ClaudeAPIError:
    """Translate an error of the SDK into ours. `keys` are removed from its text: a server may echo what it was sent. `begun`: an
    answer had begun before, and may be billed. `now` is in seconds since 1970: a Retry-After may be a date."""
    import anthropic  # late, as in the other modules that a run imports: see `convoforge.claude`

    if isinstance(error, anthropic.APIConnectionError):
        url = error.request.url
        return make_connection_error(error, f"{url.scheme}://{url.netloc.decode()}", keys)
    if isinstance(error, anthropic.APIResponseValidationError):
        return UnreadableError(
            f"the API sent something unreadable: {clean_line(error, keys)}", kind="bad_body", maybe_billed=True
        )
    if isinstance(error, anthropic.APIStatusError):
        return _translate_status(error, keys, begun, now)
    if isinstance(error, anthropic.RetryableError):
        return TransientError(clean_line(error, keys), kind="retryable")
    if isinstance(error, anthropic.CredentialsError):
        return FatalAPIError(f"no usable API key: {clean_line(error, keys)}", kind="credentials")
    return FatalAPIError(f"the SDK refused the call: {clean_line(error, keys)}", kind=type(error).__name__)


def make_connection_error(error: Exception, where: str, keys: Sequence[str] = ()) -> TransientError:
    """Make our error for a call to the server at `where` that got no answer. Its message says what failed, and quotes the cause.
    A call that never reached the server is not billed."""
    import anthropic

    error = _find_cause(error)
    words = clean_line(error, keys, 200) or type(error).__name__
    for cause, message in _UNREACHED.items():
        if isinstance(error, cause):
            return TransientError(f"no answer from {where}: {message} ({words})", kind="unreachable")
    if isinstance(error, TimeoutError | anthropic.APITimeoutError | httpx2.TimeoutException):
        return TransientError("the API did not answer in time", kind="timeout", maybe_billed=True)
    if isinstance(error, httpx2.DecodingError):
        message = f"the answer from {where} is not compressed as it claims to be ({words})"
        return UnreadableError(message, kind="bad_encoding", maybe_billed=True)
    if isinstance(error, aiohttp.ClientResponseError):
        what = "has a header that is too large" if "more than" in words or "too long" in words else "is no HTTP that can be read"
        return UnreadableError(f"the answer from {where} {what} ({words})", kind="bad_header", maybe_billed=True)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        message = "the server closed the connection before it answered"
    elif isinstance(error, aiohttp.ClientPayloadError):
        message = "the connection ended in the midst of the answer"
    elif isinstance(error, ConnectionResetError | BrokenPipeError) or isinstance(error.__cause__, ConnectionResetError):
        message = "the connection was reset"
    else:
        message = "the connection broke during the call"
    return TransientError(f"no answer from {where}: {message} ({words})", kind="connection", maybe_billed=True)


def _find_cause(error: Exception) -> Exception:
    """The error of aiohttp or the system that caused an SDK error: they distinguish cases that the SDK and httpx2 do not."""
    while isinstance(error.__cause__, Exception) and not isinstance(error, _SAYING):
        error = error.__cause__
    return error


_SAYING = (aiohttp.ClientError, OSError, httpx2.DecodingError)


_UNREACHED: Mapping[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: "the name of the server is not known (DNS), or the network is down",
    aiohttp.ClientConnectorCertificateError: "its TLS certificate is not trusted",
    aiohttp.ClientSSLError: "no TLS connection could be made",
    aiohttp.ClientProxyConnectionError: "the proxy cannot be reached",
    aiohttp.ClientHttpProxyError: "the proxy refused to connect: check HTTPS_PROXY",
    aiohttp.ConnectionTimeoutError: "it cannot be reached, or the network is down",
    aiohttp.ClientConnectorError: "nothing listens there, or the network is down",
    aiohttp.InvalidURL: "it is no address",
}
"""Reasons why a call never reached the server, subclasses first."""


def classify(
    status: int, kind: str, message: str, *, code: str = "", retry_after: float | None = None, page: bool = False
) -> tuple[type[ClaudeAPIError], str]:
    """The class and the message for an error answer. `kind` and `code` are the API's own type and code, `page`: it is a web page,
    not the API's. The order matters: first the account, then temporary errors, then the status."""
    if code in _FATAL_CODES:
        return FatalAPIError, f"{_FATAL_CODES[code]} ({status}): {message}"
    if page and 400 <= status < 500 and status not in (429, *_OWN_REFUSALS):
        return UnreadableError, f"a web page came instead of the API's answer ({status}), as from a proxy: {message}"
    if status == 402 or _is_account_empty(status, kind, message, retry_after):
        return FatalAPIError, f"{CANNOT_PAY} ({status}): {message}"
    if code == "request_body_timeout":
        return TransientError, f"the request did not get through ({status}): {message}"
    if status in (429, 529) or kind in ("overloaded_error", "rate_limit_error") or message.lower().startswith("overloaded"):
        wait = f"; it asks to wait {span(retry_after)}" if retry_after and retry_after >= 60 else ""
        return OverloadError, f"the API has no room ({status}): {message}{wait}"
    if status == 401:
        return FatalAPIError, f"the API refused the key ({status}): {message}. Check ANTHROPIC_API_KEY"
    if status == 403:
        return FatalAPIError, f"the key may not do this ({status}): {message}"
    if status == 407:
        return FatalAPIError, f"the proxy wants a password ({status}): {message}. Check HTTPS_PROXY"
    if status == 404 and _UNKNOWN_MODEL.search(message):
        return FatalAPIError, f"unknown model ({status}): {message}"
    if status == 499:
        return TransientError, f"the call was cut off ({status}): {message}"
    if status >= 500 or status in _TEMPORARY or kind in ("api_error", "timeout_error"):
        return TransientError, f"the API failed ({status}): {message}"
    return RejectedError, f"the API refused the request ({status}): {message}"


def classify_by_type(kind: str, message: str) -> tuple[type[ClaudeAPIError], str]:
    """As `classify`, for an error without a status (a batch's results). An unknown type counts as temporary."""
    return classify(_STATUS_OF.get(kind, 500), kind, message)


def _translate_status(
    error: anthropic.APIStatusError, keys: Sequence[str], begun: bool, now: Callable[[], float]
) -> ClaudeAPIError:
    status, headers = error.status_code, error.response.headers
    code = clean_line(error.error_code or "", keys, 64)
    kind = clean_line(error.type or type(error).__name__, keys, 64)
    page = is_page(error.response.content, headers.get("content-type", ""))
    message = clean_line(_read_title(error.message) if page else error.api_message or error.message, keys)
    fields: dict[str, Any] = {
        "status": status,
        "kind": "page" if page else kind,
        "request_id": clean_line(error.request_id, keys, 128) if error.request_id else None,
        "retry_after": read_retry_after(headers, now),
        "details": {"error_code": code} if code else None,
        # 499: the call was cut off while the server worked on it
        "maybe_billed": status == 499 or begun,
    }
    if 300 <= status < 400:
        where = clean_line(headers.get("location", "nowhere"), keys, 128)
        return FatalAPIError(
            f"the server sends one elsewhere ({status}), to {where}: set ANTHROPIC_BASE_URL to the API's own address", **fields
        )
    counts = _STATUS_OF.get(kind, 500) if status < 300 else status
    found, words = classify(counts, kind, message, code=code, retry_after=fields["retry_after"], page=page)
    if status < 300:
        words = f"an error came with status {status}: {words}"
    return _apply_should_retry(found, headers.get("x-should-retry", ""), status, words)(words, **fields)


def _apply_should_retry(found: type[ClaudeAPIError], wish: str, status: int, words: str) -> Callable[..., ClaudeAPIError]:
    """Apply the server's `x-should-retry` header, as the SDK does. Errors about the account are not changed to retryable ones."""
    wish = wish.strip().lower()
    if wish == "true" and status >= 400 and not words.startswith(CANNOT_PAY) and not issubclass(found, _RETRIED):
        return TransientError
    if wish == "false" and issubclass(found, _RETRIED):
        return lambda message, **fields: found(message, final=True, **fields)
    return found


def is_page(body: bytes, content_type: str = "") -> bool:
    """Whether an answer is a web page: what a proxy, a portal or a firewall sends, never the API."""
    first = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return first == b"<" or (first not in (b"", b"{", b"[") and "html" in content_type.lower())


def _read_title(message: str) -> str:
    found = _TITLE.search(message)
    return found[1] if found else message


def _is_account_empty(status: int, kind: str, message: str, retry_after: float | None) -> bool:
    """Whether an error is about the account. A 429 with Retry-After is about a rate limit, whatever its text says."""
    if status == 429 and retry_after is not None and kind != "billing_error":
        return False
    return is_about_empty_account(kind, message, refusal=400 <= status < 500 and status != 429)


def clean_line(message: object, keys: Sequence[str], limit: int = 400) -> str:
    """Another party's text, made safe for a message and a ledger column: one line, without our keys, truncated."""
    text = str(message).encode(errors="replace").decode()
    for key in keys:
        text = text.replace(key, "[key]")
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * limit])
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def read_retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Seconds that the server asks to wait, as the SDK reads them: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    try:
        return max(0.0, email.utils.mktime_tz(date) - now()) if date else None
    except (ValueError, OverflowError):  # no valid date
        return None
