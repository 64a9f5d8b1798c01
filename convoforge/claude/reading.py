"""Reads the API's answers into our values. An answer that is not as it should be is unreadable as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

import httpx2
import orjson

from convoforge.claude.errors import is_page
from convoforge.errors import UnreadableError
from convoforge.models import Provider, Reply, Terms, Usage

SIMULATOR_HEADER = "x-convoforge-simulator"

SIMULATOR_KEY = "sk-simulated"
MAX_TOKENS = 10_000_000
"""Maximum plausible tokens of one kind in an answer: ten times the largest context window; the sum fits into 32 bits."""

_RATE_PREFIX = b"anthropic-ratelimit-"


def read_reply(message: Mapping[str, Any], response: httpx2.Response, *, temperature_applied: bool) -> Reply:
    """Read a message of the API and its response headers. Raises `UnreadableError` if it is not a message."""
    headers = response.headers
    details = message.get("stop_details")
    usage = _usage(message)
    return Reply(
        text=_text(message, response),
        stop_reason=read_word(message.get("stop_reason"), 64),
        usage=usage or Usage(),
        usage_known=usage is not None,
        terms=_terms(message.get("usage")),
        request_id=read_word(headers.get("request-id"), 128),
        provider=read_provider(headers),
        model=read_word(message.get("model"), 200) or "",
        rate_headers={name.decode().lower(): value.decode("latin-1") for name, value in headers.raw if _is_rate_header(name)},
        refusal_category=read_word(details.get("category"), 64) if isinstance(details, dict) else None,
        temperature_applied=temperature_applied,
    )


def _is_rate_header(name: bytes) -> bool:
    return name[:20].lower() == _RATE_PREFIX


def _text(message: Mapping[str, Any], response: httpx2.Response) -> str:
    """The joined text blocks; other blocks are skipped."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise unreadable(response, "it is no message: it has no `content`")
    texts = (block.get("text") for block in content if isinstance(block, dict) and block.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _usage(message: Mapping[str, Any]) -> Usage | None:
    """The billed usage; None if it is missing or implausible."""
    try:
        return read_usage(message["usage"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        return None


def _terms(usage: object) -> Terms:
    """The terms, besides token counts, that decide the price."""
    found = usage if isinstance(usage, Mapping) else {}
    return Terms(*(read_word(found.get(field.name), 32) for field in fields(Terms)))


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Read the API's usage block. A cache write without a lifetime counts as five minutes.

    Raises `KeyError`, `TypeError`, `AttributeError` or `ValueError` if it is malformed or implausible.
    """
    by_life = usage.get("cache_creation") or {}
    one_hour = _tokens(by_life.get("ephemeral_1h_input_tokens") or 0)
    five_minutes = _tokens(by_life.get("ephemeral_5m_input_tokens") or 0)
    written = _tokens(usage.get("cache_creation_input_tokens") or 0)
    output = _tokens(usage["output_tokens"])
    return Usage(
        input_tokens=_tokens(usage["input_tokens"]),
        output_tokens=output,
        cache_read_tokens=_tokens(usage.get("cache_read_input_tokens") or 0),
        cache_write_5m_tokens=max(five_minutes, written - one_hour),
        cache_write_1h_tokens=one_hour,
        thinking_tokens=_thinking(usage.get("output_tokens_details"), output),
    )


def _thinking(details: object, output: int) -> int:
    """Number of thinking tokens in the output; 0 if unreadable, as they do not change the price."""
    thought = details.get("thinking_tokens") if isinstance(details, Mapping) else None
    return min(max(0, thought), output) if type(thought) is int else 0


def _tokens(value: object) -> int:
    if type(value) is not int:
        raise TypeError("usage holds something else than numbers of tokens")
    if not 0 <= value <= MAX_TOKENS:
        raise ValueError(f"no answer takes {value} tokens")
    return value


def read_word(value: object, limit: int) -> str | None:
    """A short text of the API, truncated and made safe for a ledger; None if it is not text."""
    return value.encode(errors="replace").decode().replace("\0", "\ufffd")[:limit] if isinstance(value, str) else None


def read_json(response: httpx2.Response) -> dict[str, Any]:
    """Read a response as a JSON object. Raises `UnreadableError` if it is not one."""
    try:
        body = parse_json(response.content)
    except ValueError:
        page = is_page(response.content, response.headers.get("content-type", ""))
        raise unreadable(response, "it is a web page, as from a proxy" if page else "it is not JSON") from None
    if not isinstance(body, dict):
        raise unreadable(response, "it is no JSON object")
    return cast(dict[str, Any], body)


def parse_json(text: bytes) -> Any:
    """Parse JSON as laxly as the SDK: a byte order mark, NaN and lone surrogates are allowed. Raises `ValueError`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("too deep") from None


def unreadable(response: httpx2.Response, why: str) -> UnreadableError:
    """Make the error for a successful but unreadable answer: it may have been billed."""
    return UnreadableError(
        f"the API answered {response.status_code} with something unreadable: {why}",
        status=response.status_code,
        kind="bad_body",
        request_id=read_word(response.headers.get("request-id"), 128),
        maybe_billed=True,
    )


def read_provider(headers: Mapping[str, str]) -> Provider:
    """Which provider answered, by its headers."""
    return "simulator" if SIMULATOR_HEADER in headers else "anthropic"
