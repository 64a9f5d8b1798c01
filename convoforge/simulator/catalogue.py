"""The models the simulator knows, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `sampling`, `prefill` and `thinking_budget` are what newer ones refuse; token figures are per request."""

    id: str
    name: str
    line: str
    created: str
    max_tokens: int
    context: int
    cache_minimum: int
    structured: bool = True
    sampling: bool = False
    prefill: bool = False
    thinking_budget: bool = False
    adaptive: bool = True

    def info(self) -> dict[str, Any]:
        """The model as `GET /v1/models/{id}` tells it."""

        def can(supported: bool) -> dict[str, bool]:
            return {"supported": supported}

        levels = {level: can(self.adaptive) for level in ("low", "medium", "high", "xhigh", "max")}
        thinking = {"adaptive": self.adaptive, "between_tools": self.adaptive, "disabled": True, "enabled": self.thinking_budget}
        return {
            "id": self.id,
            "type": "model",
            "display_name": self.name,
            "line": self.line,
            "created_at": self.created,
            "lifecycle": "active",
            "deprecated_at": None,
            "retires_at": None,
            "max_input_tokens": self.context,
            "max_tokens": self.max_tokens,
            "capabilities": {
                "batch": can(True),
                "citations": can(True),
                "code_execution": can(False),
                "context_management": can(False),
                "effort": {**can(self.adaptive), **levels},
                "image_input": can(True),
                "pdf_input": can(True),
                "server_tools": {**can(False), "code_execution": can(False), "web_search": can(False)},
                "structured_outputs": can(self.structured),
                "thinking": {**can(True), "types": {kind: can(supported) for kind, supported in thinking.items()}},
            },
        }


MODELS = {
    model.id: model
    for model in (
        Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "sonnet", "2026-09-24T00:00:00Z", 64_000, 1_000_000, 512),
        Model("claude-haiku-5-5", "Claude Haiku 5.5", "haiku", "2026-10-08T00:00:00Z", 64_000, 400_000, 512),
        Model("claude-opus-5-5", "Claude Opus 5.5", "opus", "2026-09-24T00:00:00Z", 64_000, 1_000_000, 512),
        Model("claude-fable-5-2", "Claude Fable 5.2", "fable", "2026-08-13T00:00:00Z", 64_000, 1_000_000, 1_024),
        Model(
            "claude-sonnet-4-6", "Claude Sonnet 4.6", "sonnet", "2026-02-17T00:00:00Z", 64_000, 200_000, 1_024,
            sampling=True, thinking_budget=True,
        ),
        Model(
            "claude-haiku-4-5", "Claude Haiku 4.5", "haiku", "2025-10-15T00:00:00Z", 64_000, 200_000, 1_024,
            sampling=True, prefill=True, thinking_budget=True, adaptive=False,
        ),
        Model(
            "claude-sonnet-4-20250514", "Claude Sonnet 4", "sonnet", "2025-05-22T00:00:00Z", 64_000, 200_000, 1_024,
            structured=False, sampling=True, prefill=True, thinking_budget=True, adaptive=False,
        ),
    )
}  # fmt: skip
