"""The models that the simulator knows, with their parameters and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from convoforge.planning.model_facts import EFFORTS, THINKING, snapshot_models


@dataclass(frozen=True, slots=True)
class Model:
    """One model, with the facts of the snapshot under the same names. Token limits are per request.

    `thinking` holds the types it takes, `thinks` is whether it thinks by default, and `efforts_when_off` holds the efforts it
    takes when thinking is off.
    """

    id: str
    name: str
    line: str
    created_at: str
    max_tokens: int
    max_input_tokens: int
    cache_minimum: int
    structured: bool
    batch: bool
    temperature: bool
    thinking: Sequence[str]
    thinks: bool
    efforts: Sequence[str]
    default_effort: str | None
    efforts_when_off: Sequence[str]
    lifecycle: str
    deprecated_at: str | None
    retires_at: str | None
    characters_a_token: int

    def count_tokens(self, characters: int) -> int:
        """Number of tokens in a text with this number of characters, rounded up."""
        return -(-characters // self.characters_a_token)

    def describe(self) -> dict[str, Any]:
        """The response body of `GET /v1/models/{id}`."""

        def supported(value: bool) -> dict[str, bool]:
            return {"supported": value}

        thinks = "adaptive" in self.thinking or "enabled" in self.thinking
        return {
            "id": self.id,
            "type": "model",
            "display_name": self.name,
            "line": self.line,
            "created_at": _format_day(self.created_at),
            "lifecycle": self.lifecycle,
            "deprecated_at": _format_day(self.deprecated_at),
            "retires_at": _format_day(self.retires_at),
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_tokens,
            "capabilities": {
                "batch": supported(self.batch),
                "effort": {**supported(bool(self.efforts)), **{level: supported(level in self.efforts) for level in EFFORTS}},
                "structured_outputs": supported(self.structured),
                "thinking": {**supported(thinks), "types": {kind: supported(kind in self.thinking) for kind in THINKING}},
            },
        }


def _format_day(day: str | None) -> str | None:
    return day and f"{day}T00:00:00Z"


MODELS = {
    name: Model(**{**{field.name: facts[field.name] for field in fields(Model)}, "id": name})
    for name, facts in snapshot_models().items()
}
