"""The models the simulator knows, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convoforge.planning.model_facts import snapshot_models

EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING = ("adaptive", "between_tools", "disabled", "enabled")


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `sampling` and `prefill` are what newer ones refuse; token figures are per request. `thinking` are the types it takes,
    `thinks` is what it does where a request says nothing, and `efforts_when_off` what it takes beside thinking turned off."""

    id: str
    name: str
    line: str
    created: str
    max_tokens: int
    context: int
    cache_minimum: int
    structured: bool = True
    batch: bool = True
    sampling: bool = False
    prefill: bool = False
    thinking: tuple[str, ...] = ("disabled",)
    thinks: bool = False
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    efforts_when_off: tuple[str, ...] = ()
    lifecycle: str = "active"
    deprecated: str | None = None
    retires: str | None = None
    characters_a_token: int = 3

    def tokens(self, characters: int) -> int:
        """The tokens of so many characters, rounded up."""
        return -(-characters // self.characters_a_token)

    def info(self) -> dict[str, Any]:
        """The model as `GET /v1/models/{id}` tells it."""

        def can(supported: bool) -> dict[str, bool]:
            return {"supported": supported}

        return {
            "id": self.id,
            "type": "model",
            "display_name": self.name,
            "line": self.line,
            "created_at": _moment(self.created),
            "lifecycle": self.lifecycle,
            "deprecated_at": _moment(self.deprecated),
            "retires_at": _moment(self.retires),
            "max_input_tokens": self.context,
            "max_tokens": self.max_tokens,
            "capabilities": {
                "batch": can(self.batch),
                "citations": can(True),
                "code_execution": can(False),
                "context_management": can(False),
                "effort": {**can(bool(self.efforts)), **{level: can(level in self.efforts) for level in EFFORTS}},
                "image_input": can(True),
                "pdf_input": can(True),
                "server_tools": {**can(False), "code_execution": can(False), "web_search": can(False)},
                "structured_outputs": can(self.structured),
                "thinking": {
                    **can("adaptive" in self.thinking or "enabled" in self.thinking),
                    "types": {kind: can(kind in self.thinking) for kind in THINKING},
                },
            },
        }


def _moment(day: str | None) -> str | None:
    return day and f"{day}T00:00:00Z"


def _model(name: str, told: dict[str, Any]) -> Model:
    return Model(
        id=name,
        name=told["name"],
        line=told["line"],
        created=told["created_at"],
        max_tokens=told["max_tokens"],
        context=told["max_input_tokens"],
        cache_minimum=told["cache_minimum"],
        structured=told["structured"],
        batch=told["batch"],
        sampling=told["temperature"],
        prefill=told["prefill"],
        thinking=tuple(told["thinking"]),
        thinks=told["thinks"],
        efforts=tuple(told["efforts"]),
        default_effort=told["default_effort"],
        efforts_when_off=tuple(told["efforts_when_off"]),
        lifecycle=told["lifecycle"],
        deprecated=told["deprecated_at"],
        retires=told["retires_at"],
        characters_a_token=told["characters_a_token"],
    )


MODELS = {name: _model(name, told) for name, told in snapshot_models().items()}
