"""The API key: whether the API takes it, what it is allowed, and, by the way, whether this machine's clock agrees with the API's. Free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from convoforge.errors import ClaudeAPIError, ConfigError
from convoforge.finding import Finding, bad, good, warning
from convoforge.planning.spec import DatasetSpec
from convoforge.rate import KINDS, fingerprint
from convoforge.settings import WITHOUT_TOKEN_COUNTS, Settings

ASK_SECONDS = 10.0
CLOCK_SECONDS, LEASE_SECONDS = 5.0, 45.0
"""Seconds by which a clock may differ; and half of a lease, which other machines would think has ended."""


def check_account_and_clock(settings: Settings, specs: Sequence[DatasetSpec]) -> Iterator[Finding]:
    """Each key, by one free count of tokens, with what the API announces as its limits; and the time that the API answers with."""
    if not settings.accounts:
        yield warning("key", "no API key: only simulated builds work", "set ANTHROPIC_API_KEY")
    elif settings.api in WITHOUT_TOKEN_COUNTS:
        yield warning(
            "key", f"CONVOFORGE_API={settings.api} cannot be asked without paying", "a small build shows whether it works"
        )
    else:
        models: dict[str, DatasetSpec | None] = {spec.model: spec for spec in sorted(specs, key=_ask_rate)}  # the fastest of each
        models = models or {settings.model or "claude-sonnet-5-5": None}
        for index, account in enumerate(settings.accounts):
            shown = fingerprint(account) if settings.keys else account
            for model, spec in models.items():
                yield from asyncio.run(_ask(settings, index, shown, model, spec))
                if index:
                    break  # a second key is of the same account as a rule: one question says whether it works


async def _ask(settings: Settings, index: int, shown: str, model: str, spec: DatasetSpec | None) -> list[Finding]:
    from convoforge.claude import Claude

    own = settings.api == "anthropic"
    try:
        claude = Claude(
            settings.accounts, settings.api_root if own else None, model, timeout_seconds=ASK_SECONDS, api=settings.api
        )
    except ConfigError as error:
        return [bad("key", str(error), "the message names the variable")]
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    try:
        response = await claude.call("POST", "/v1/messages/count_tokens", index, body=body)
        headers, received = response.headers, time.time()
    except ClaudeAPIError as error:
        return [bad("key", f"{shown}, {model}: {error}", "check ANTHROPIC_API_KEY, the model's name and ANTHROPIC_BASE_URL")]
    finally:
        await claude.aclose()
    return [
        good("key", f"{shown} is taken by {settings.endpoint} for {model}"),
        *_compare_limits(headers, model, spec),
        *_compare_clocks(headers.get("date"), received),
    ]


def _compare_limits(headers: Mapping[str, str], model: str, spec: DatasetSpec | None) -> Iterator[Finding]:
    values = {kind: headers.get(f"anthropic-ratelimit-{kind}-limit", "") for kind in KINDS}
    announced = {kind: int(limit) for kind, limit in values.items() if limit.isdecimal()}
    if spec is None:
        return
    asked = _ask_rate(spec)
    what = f"{spec.name} asks for {asked:,.0f} requests a minute of {model}"
    if "requests" not in announced:
        yield good(
            "limits", f"{what}; the API announces an account's limits with its answers, and a run keeps to the lower of the two"
        )
    elif asked > announced["requests"]:
        much = f"{what}, the account is allowed {announced['requests']:,}"
        yield warning(
            "limits", much, "lower `limits.max_requests` in the spec; a run slows down by itself, after it was refused once"
        )
    else:
        limits = ", ".join(f"{limit:,} {kind.replace('-', ' ')}" for kind, limit in announced.items())
        yield good("limits", f"{what}; the account is allowed {limits} a minute")


def _ask_rate(spec: DatasetSpec) -> float:
    """The requests a minute that a spec asks for."""
    return spec.limits.max_requests * 60 / spec.limits.window_seconds


def _compare_clocks(date: str | None, received: float) -> Iterator[Finding]:
    if not date:
        return
    off = datetime.fromtimestamp(received, UTC) - parsedate_to_datetime(date)
    seconds = off.total_seconds() - 0.5  # the header has whole seconds
    what = f"this machine's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the API's"
    todo = "set the clock by NTP (timedatectl set-ntp true)"
    if abs(seconds) > LEASE_SECONDS:
        yield bad("clock", f"{what}: workers on other machines take over what this one is at", todo)
    elif abs(seconds) > CLOCK_SECONDS:
        yield warning("clock", what, todo)
    else:
        yield good("clock", "agrees with the API's")
