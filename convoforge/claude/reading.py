"""What the API sends, as values of ours. Whatever is not what it should be is said to be unreadable, and never half believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from convoforge.claude.connection import Answer
from convoforge.errors import TransientError
from convoforge.models import Provider, Reply, Usage

SIMULATOR_HEADER = "x-convoforge-simulator"
_RATE_PREFIX = "anthropic-ratelimit-"


def read_reply(message: Mapping[str, Any], answer: Answer, *, temperature_applied: bool) -> Reply:
    """A message of the API, and what the headers it came with say of it. Raises `TransientError` where it is none."""
    headers = answer.headers
    try:
        return Reply(
            text="".join(block["text"] for block in message["content"] if block["type"] == "text"),
            stop_reason=word(message["stop_reason"], 64),
            usage=read_usage(message["usage"]),
            request_id=word(headers.get("request-id"), 128),
            provider=provider_of(headers),
            model=message["model"],
            rate_headers={name: value for name, value in headers.items() if name.startswith(_RATE_PREFIX)},
            refusal_category=word((message.get("stop_details") or {}).get("category"), 64),
            temperature_applied=temperature_applied,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise bad_body(answer, f"a field is missing or is not what it should be: {error}") from None


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


def word(value: object, most: int) -> str | None:
    """A word of the API, cut; None where there is none. Raises `TypeError` for anything else."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} stands where a word should")
    return value and value[:most]


def read_json(answer: Answer) -> dict[str, Any]:
    """The JSON object that a response is. Raises `TransientError` where it is none."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise bad_body(answer, "it is not JSON") from None
    if not isinstance(body, dict):
        raise bad_body(answer, "it is no JSON object")
    return cast(dict[str, Any], body)


def bad_body(answer: Answer, why: str) -> TransientError:
    """What to raise where an answer that succeeded cannot be read: it may have been billed."""
    return TransientError(
        f"the API answered {answer.status} with something unreadable: {why}",
        status=answer.status,
        kind="bad_body",
        request_id=word(answer.headers.get("request-id"), 128),
        maybe_billed=True,
    )


def provider_of(headers: Mapping[str, str]) -> Provider:
    """Who has signed an answer."""
    return "simulator" if SIMULATOR_HEADER in headers else "anthropic"
