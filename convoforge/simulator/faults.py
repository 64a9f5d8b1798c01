"""What can go wrong with a call: the kinds, their script, and the odds of random ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from convoforge.errors import ConfigError, nearest

ERRORS: Mapping[str, tuple[str, str]] = {
    "400": ("invalid_request_error", "The request is not valid."),
    "401": ("authentication_error", "invalid x-api-key"),
    "402": ("billing_error", "Your credit balance is too low to access the API."),
    "403": ("permission_error", "Your API key does not have permission to use the specified resource."),
    "404": ("not_found_error", "The requested resource could not be found."),
    "408": ("timeout_error", "The request took too long to arrive."),
    "409": ("conflict_error", "The request conflicts with another one."),
    "413": ("request_too_large", "Request exceeds the maximum size."),
    "422": ("invalid_request_error", "The request could not be processed."),
    "429": ("rate_limit_error", "This request would exceed your organization's rate limit."),
    "500": ("api_error", "Internal server error"),
    "502": ("api_error", "Bad gateway"),
    "503": ("api_error", "Service unavailable"),
    "504": ("timeout_error", "The request timed out while processing."),
    "529": ("overloaded_error", "Overloaded"),
}
"""Answers with this status instead of a message; type and message as the API words them. Not billed."""

REFUSALS: Mapping[str, tuple[int, str]] = {
    "425": (425, "Too Early"),
    "302": (302, "Found"),
}
"""Answers of servers in between, as plain text, with a status that the API itself never has. Not billed."""

SPOILT = ("bom", "nan", "surrogate", "cut", "event_stream", "event_error", "bad_gzip", "big_header")
"""How a sound answer may reach the client: after a byte order mark, with NaN in a key of its own, with half a surrogate pair in it, cut,
as events although none were asked for (and ending in an error), not compressed as it claims, under a header of 60 kB. Billed."""

STREAMED = ("stream_error", "stream_end")
BROKEN = ("reset", "hang", "html", "broken_json", *STREAMED)
"""The call breaks on the way: dropped halfway, never answered, a web page, half a JSON; in a stream an error event, an early end."""

ODD = ("truncation", "refusal", "overflow", "prose", "fenced", "wrong_roles", "short")
"""A sound answer that holds no good conversation. Billed."""

BATCHED = ("expired", "canceled")
"""What becomes of a request in a batch that is neither answered nor an error. Not billed. Online it is an overload."""

LINES = (
    "line_cut",
    "line_stub",
    "line_half_character",
    "line_bom",
    "line_nan",
    "line_event",
    "line_nameless",
    "line_stranger",
    "line_twice",
    "line_html",
    "line_missing",
    "line_unknown_type",
)
"""What becomes of the line among a batch's results of a request that was answered, and billed: cut in the middle, or before its name
ends; half a surrogate pair in a content; a byte-order mark before it; a NaN in it; another line in its place, or one without its name,
or under a name of nobody; twice; a web page in its place; nothing in its place; a result of a new type. Online it is an overload."""

OK = "ok"
ERROR_IN_200 = "error_in_200"
"""An error object with status 200. Not billed."""

KINDS = (OK, *ERRORS, *REFUSALS, ERROR_IN_200, *SPOILT, *BROKEN, *ODD, *BATCHED, *LINES)

PLACES = ("batch_create", "batch_retrieve", "batch_list", "batch_cancel", "batch_delete", "batch_results")
"""The calls about batches, as a script names them in `on`: no message's request ever meets what is scripted for one of these."""

CALL_KINDS = (OK, *ERRORS, *REFUSALS, "reset", "hang", "html", "broken_json")
"""What such a call can meet."""

REMEMBERED = 100_000
"""Prompts whose number of tries is kept: bounds the memory."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request; `ok` is that nothing does.

    `retry_after` (seconds), `error_code`, `type` and `message` are for errors, `category` is for refusals, `text` is what the model
    answers instead. `headers` are added to the answer's, `fields` replace some of a sound answer's (`{"usage": null}`), and those
    in `without` are left out. With a `status` an `html` page has that one, and costs nothing.
    """

    kind: str = OK
    retry_after: float | None = None
    error_code: str | None = None
    category: str | None = None
    text: str | None = None
    type: str | None = None
    message: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()

    @property
    def page(self) -> bool:
        """Whether a server in between answers, and no model writes anything."""
        return self.kind in REFUSALS or (self.kind == "html" and self.status is not None)


def known_kind(kind: str) -> str:
    """The kind itself. Raises ConfigError where there is none of this name."""
    if kind not in KINDS:
        raise ConfigError(f"unknown fault '{kind}'{nearest(str(kind), KINDS)}")
    return kind


def read_fault(given: Any) -> Fault:
    """A fault from its kind, or from a mapping with `kind` and the fields of `Fault`. Raises ConfigError where it is neither."""
    told = {"kind": given} if isinstance(given, str) else given
    names = [field.name for field in fields(Fault)]
    if not isinstance(told, Mapping) or "kind" not in told:
        raise ConfigError(f"cannot read the fault {given!r}: give a kind, or an object with 'kind'.")
    for name in told:
        if name not in names:
            raise ConfigError(f"a fault has no '{name}'{nearest(name, names)}")
    return Fault(**{**told, "kind": known_kind(told["kind"])})


class Script:
    """Faults in order: for the requests whose prompt holds a text, or for one kind of call about batches."""

    def __init__(self) -> None:
        self._acts: list[tuple[str | None, str, deque[Fault]]] = []

    def add(self, faults: Sequence[Fault], match: str | None, on: str | None = None) -> None:
        """The next requests whose prompt holds `match` (any prompt: None) meet these faults, in this order.

        With `on`, one of `PLACES`, the next such calls meet them instead. Raises ConfigError for another place, for a `match`
        beside it, and for a kind that is not one of `CALL_KINDS`.
        """
        if on is not None:
            check_place(faults, match, on)
        if faults:
            self._acts.append((on, match or "", deque(faults)))

    def next(self, prompt: str, on: str | None = None) -> Fault | None:
        """The fault for this prompt, or for a call `on`, used up; None where none is scripted for it. The oldest script goes first."""
        for place, match, faults in self._acts:
            if place == on and match in prompt:
                fault = faults.popleft()
                self._acts = [act for act in self._acts if act[2]]
                return fault
        return None

    def clear(self) -> None:
        """Forget what has not been met yet."""
        self._acts = []

    @property
    def pending(self) -> int:
        """Faults not yet met."""
        return sum(len(faults) for _, _, faults in self._acts)


def check_place(faults: Sequence[Fault], match: str | None, on: str) -> None:
    """Raises ConfigError where these faults cannot be met by the calls `on`."""
    if on not in PLACES:
        raise ConfigError(f"faults can be scripted on no '{on}'{nearest(str(on), PLACES)}")
    if match:
        raise ConfigError(f"a call has no prompt to hold '{match}': give 'match' for requests, or 'on' for calls about batches.")
    for fault in faults:
        if fault.kind not in CALL_KINDS:
            raise ConfigError(f"{on} cannot meet '{fault.kind}', only {', '.join(CALL_KINDS)}.")


class Odds:
    """Random faults that depend on nothing but seed, prompt and how often the prompt came: so a retry can succeed, reproducibly."""

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        self._faults = [(Fault(kind), rate) for kind, rate in rates.items()]
        self._seed = seed
        self._tries: dict[int, int] = {}

    def draw(self, key: int) -> Fault:
        """The fault for the prompt with this hash."""
        if not self._faults:
            return Fault()
        tries = self._tries.pop(key, 0)
        self._tries[key] = tries + 1
        if len(self._tries) > REMEMBERED:
            del self._tries[next(iter(self._tries))]
        digest = blake2b(f"{self._seed} {key} {tries}".encode(), digest_size=8).digest()
        point = int.from_bytes(digest) / 2**64
        for fault, rate in self._faults:
            point -= rate
            if point < 0:
                return fault
        return Fault()
