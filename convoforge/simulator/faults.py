"""The kinds of faults that a call can have, scripted faults, and random faults by rate."""

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
"""Error answers by status, with the API's own type and message. Not billed."""

REFUSALS: Mapping[str, tuple[int, str]] = {"425": (425, "Too Early"), "302": (302, "Found")}
"""Plain-text answers of a proxy, with a status that the API never uses. Not billed."""

SPOILED = ("bom", "nan", "surrogate", "cut", "event_stream", "event_error", "bad_gzip", "big_header")
"""A good answer in a bad form: after a byte order mark, with NaN or a lone surrogate in an extra key, cut off, as a stream of
events (which may end in an error), not compressed as claimed, with a header of 60 kB. Billed."""

BROKEN = ("reset", "hang", "html", "broken_json")
"""The answer fails in transit: dropped halfway, never sent, a web page, half a JSON text."""

ODD = ("truncation", "refusal", "overflow", "prose", "fenced", "wrong_roles", "short", "faulty", "repeated")
"""A complete answer without a good conversation: of a wrong form, with a fault in what is said, or said before. Billed."""

BATCHED = ("expired", "canceled")
"""Results of a request in a message batch that gets no answer. Not billed. Online it is a 529."""

LINES = (
    "line_cut", "line_stub", "line_half_character", "line_bom", "line_nan", "line_event", "line_nameless", "line_stranger",
    "line_twice", "line_html", "line_missing", "line_unknown_type",
)  # fmt: skip
"""Faults in the result line of a request that was answered and billed; see `write_line` in `batch`. Online it is a 529."""

OK = "ok"
ERROR_IN_200 = "error_in_200"
"""An error object with status 200. Not billed."""

KINDS = (OK, *ERRORS, *REFUSALS, ERROR_IN_200, *SPOILED, *BROKEN, *ODD, *BATCHED, *LINES)

BATCH_CALLS = ("batch_create", "batch_retrieve", "batch_list", "batch_results")
"""Calls of the Message Batches API, for which faults can be scripted with `on`."""

BATCH_CALL_KINDS = (OK, *ERRORS, *REFUSALS, *BROKEN)
REMEMBERED = 100_000
"""Maximum number of prompts whose tries are counted for random faults."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How a call ends. Every field but `kind` changes a part of the answer.

    `retry_after` is in seconds. `category` is a refusal's. `text` replaces the model's text. `type` and `message` are an error's,
    `status` is a web page's. `headers` are added. `fields` replace fields of the answer, and those in `without` are left out.
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
    def is_page(self) -> bool:
        """Whether a proxy answers instead of the API."""
        return self.kind in REFUSALS or (self.kind == "html" and self.status is not None)

    def apply_fields(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with this fault's `fields`, and without the fields in `without`."""
        return {name: value for name, value in {**body, **self.fields}.items() if name not in self.without}


class ApiError(Exception):
    """An error answer: status, and the API's type, message and code; `retry_after` in seconds."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        kind: str | None = None,
        retry_after: float | None = None,
        error_code: str | None = None,
    ) -> None:
        usual_kind, usual_message = ERRORS[str(status)]
        super().__init__(message or usual_message)
        self.status = status
        self.kind = kind or usual_kind
        self.retry_after = retry_after
        self.error_code = error_code

    @classmethod
    def from_fault(cls, fault: Fault) -> ApiError:
        """Make the error for a fault. A fault that is not an error of the API becomes a 500."""
        status = fault.kind if fault.kind in ERRORS else "500"
        return cls(int(status), fault.message, kind=fault.type, retry_after=fault.retry_after, error_code=fault.error_code)

    def body(self, request_id: str | None) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.kind, "message": str(self)}
        if self.error_code:
            error["details"] = {"error_code": self.error_code}
        return {"type": "error", "error": error, "request_id": request_id}


def check_kind(kind: str) -> str:
    """Return the kind. Raises ConfigError if it is unknown."""
    if kind not in KINDS:
        raise ConfigError(f"unknown fault '{kind}'{nearest(str(kind), KINDS)}")
    return kind


def read_fault(given: Any) -> Fault:
    """Read a fault from its kind, or from a mapping with fields of `Fault`. Raises ConfigError for anything else."""
    found = {"kind": given} if isinstance(given, str) else given
    names = [field.name for field in fields(Fault)]
    if not isinstance(found, Mapping) or "kind" not in found:
        raise ConfigError(f"cannot read the fault {given!r}: give a kind, or an object with 'kind'.")
    for name in found:
        if name not in names:
            raise ConfigError(f"a fault has no '{name}'{nearest(name, names)}")
    return Fault(**{**found, "kind": check_kind(found["kind"])})


class Script:
    """Faults in order, for requests whose prompt contains a text, or for one call of the Message Batches API."""

    def __init__(self) -> None:
        self._parts: list[tuple[str | None, str, deque[Fault]]] = []

    def add(self, faults: Sequence[Fault], match: str | None, on: str | None = None) -> None:
        """Script these faults, in order, for the next requests whose prompt contains `match` (None: any), or the next calls `on`.

        Raises ConfigError for an unknown `on`, for `match` together with `on`, and for a kind that such a call cannot have.
        """
        if on is not None and on not in BATCH_CALLS:
            raise ConfigError(f"faults can be scripted on no '{on}'{nearest(str(on), BATCH_CALLS)}")
        if on and match:
            raise ConfigError(
                f"a call has no prompt to hold '{match}': give 'match' for requests, or 'on' for calls about batches."
            )
        for fault in faults:
            if on and fault.kind not in BATCH_CALL_KINDS:
                raise ConfigError(f"{on} cannot meet '{fault.kind}', only {', '.join(BATCH_CALL_KINDS)}.")
        if faults:
            self._parts.append((on, match or "", deque(faults)))

    def take(self, prompt: str, on: str | None = None) -> Fault | None:
        """Take the next fault for this prompt, or for a call `on`, from the oldest script that has one; None if none has."""
        for call, match, faults in self._parts:
            if call == on and match in prompt:
                fault = faults.popleft()
                self._parts = [part for part in self._parts if part[2]]
                return fault
        return None

    def clear(self) -> None:
        """Drop all pending faults."""
        self._parts = []

    @property
    def pending(self) -> int:
        """Number of faults still to come."""
        return sum(len(faults) for _, _, faults in self._parts)


class FaultRates:
    """Random faults that depend on the seed, the prompt, and the number of its tries: reproducible, but a retry can succeed."""

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        self._faults = [(Fault(kind), rate) for kind, rate in rates.items()]
        self._seed = seed
        self._tries: dict[int, int] = {}

    def draw(self, key: int) -> Fault:
        """Draw the fault for the prompt with this hash."""
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
