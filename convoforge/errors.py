"""Everything this project raises on purpose, as one tree.

ConvoforgeError
├── ConfigError                  what a person wrote cannot work: spec, template, setting, argument
│   ├── UnknownConversation      an id that names nothing that can be reviewed
│   └── StaleEdit                an edit of a text that no longer stands
├── ClaudeAPIError               the API refused, or its answer is unusable
│   ├── TransientError           408, 409, 5xx, connection, time-out: worth another attempt
│   │   └── UnreadableError      an answer that is none of the API's, or cannot be read; ten in a row stop a run
│   ├── OverloadError            429 and 529: not the request's fault; never before `retry_after`
│   ├── RejectedError            400, 404, 413, 422: this request can never work
│   └── FatalAPIError                401, 402, 403, unknown model, spend limit: no request can work
├── RateLimitError               the limiter would have to wait, and the caller does not want to
├── LimiterClosed                   the run is stopping: nothing new is sent
├── ParseError                   an answer holds no conversation
├── GenerationValidationError    a conversation breaks the rules (roles, empty turns)
├── BudgetExceeded               the next call might cost more than is left
├── SteeringError                no Prefect server or worker takes a build
└── LedgerError                  the database cannot be reached, read or trusted
    └── LedgerFullError          its disk is full

The four names `ClaudeAPIError`, `RateLimitError`, `ParseError` and `GenerationValidationError` are the seed's. Retries look
at the type, never at a status. Messages are for people: what, with which value, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class ConvoforgeError(Exception):
    """The root: catch it to catch everything raised on purpose here."""


class ConfigError(ConvoforgeError):
    """A spec, template, setting or argument that cannot work. Nothing was sent or paid."""


class UnknownConversation(ConfigError):
    """An id that names no conversation, or one that another answer has replaced."""


class StaleEdit(ConfigError):
    """An edit that was made of another edit, or of the original, than the one that stands now."""


class ClaudeAPIError(ConvoforgeError):
    """The API answered with an error, or with nothing usable.

    `status` is the HTTP status (None where no answer came), `kind` the API's own error type or ours ("timeout",
    "connection"), `maybe_billed` whether the call may have been charged although no usage is known, `final` that the server wants
    no other attempt in this run.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        maybe_billed: bool = False,
        final: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.request_id = request_id
        self.retry_after = retry_after
        self.maybe_billed = maybe_billed
        self.final = final
        self.details = dict(details or {})


class TransientError(ClaudeAPIError):
    """Worth another attempt: 408, 409, 5xx, a lost connection, a time-out."""


class UnreadableError(TransientError):
    """An answer that is none of the API's (a proxy's page), or cannot be read: worth another attempt, unless all are like that."""


class OverloadError(ClaudeAPIError):
    """429 or 529: the API has no room now. `retry_after` (seconds) is the API's own word where it gave one."""


class RejectedError(ClaudeAPIError):
    """This request can never work as it stands: 400, 404, 413, 422."""


class FatalAPIError(ClaudeAPIError):
    """No request can work: a wrong key, an unknown model, a spend limit. The run drains and stops."""


class RateLimitError(ConvoforgeError):
    """The limiter is full and `queue` is off. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LimiterClosed(ConvoforgeError):
    """Nothing new is sent; the request was not sent and stays pending. The message is the reason. `retry_after` (seconds) is when it may
    work again, None where the run is stopping."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ParseError(ConvoforgeError):
    """No conversation could be read from an answer. `content` is the raw text."""

    def __init__(self, message: str, *, content: str = "") -> None:
        super().__init__(message)
        self.content = content


class GenerationValidationError(ConvoforgeError):
    """A conversation was read but breaks the rules. `details` names the rule and the place."""

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = dict(details or {})


class BudgetExceeded(ConvoforgeError):
    """The worst case of the next call does not fit into what a budget has left."""


class LedgerError(ConvoforgeError):
    """The database cannot be reached, is from a newer version, or refused a write."""


class SteeringError(ConvoforgeError):
    """A build cannot be started or steered: no Prefect server answers, or no worker of it would take the run."""


class LedgerFullError(LedgerError):
    """The ledger's disk is full: nothing new is begun until there is room."""


def span(seconds: float) -> str:
    """A time to wait, for people: its two largest units."""
    units = (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left = round(seconds)
    parts: list[str] = []
    for name, size in units:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def format_count(number: int, noun: str, plural: str = "") -> str:
    """A number of things, for people: "1 request", "6,000 requests"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


_NAMED = 12
"""Maximum number of known names in a message: all of a spec's, not all models that have a price."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error message: ``; did you mean 'per_cell'? Known: …``."""
    known = sorted(known)
    folded = {one.casefold(): one for one in known}
    close = get_close_matches(name.casefold(), folded, n=1)
    hint = f"; did you mean '{folded[close[0]]}'?" if close else "."
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"{hint} Known: {', '.join(known[:_NAMED]) or 'none'}{more}."


def shown(value: object) -> str:
    """A value for an error message: on one line, as YAML has it, cut after 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value) if isinstance(value, str | list | dict) else str(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a huge number"
    return text if len(text) <= 60 else f"{text[:60]}…"
