"""What each model takes and how it behaves: facts, told and dated, never inferred from a name.

A snapshot lies in the package (`model_facts.json`, with its date and sources), so that a plan, which calls nothing, knows what a run
will send. A run asks the API itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import orjson

from convoforge.spec import Generation

Lifecycle = Literal["active", "deprecated", "retired"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model. Tokens are those of one request; None where nobody has said.

    `thinking` are the values that the request's `thinking.type` may have; `thinks` is whether the model thinks where the request says
    nothing; `efforts` are the levels it takes, `efforts_when_off` those it takes together with thinking turned off. `known` is false
    for a model that nobody has told anything of: the plainest request is made of it. `characters_a_token` is of English text: about 3
    since Opus 4.7, whose tokenizer gives 30 % more tokens than the one before (4).
    """

    id: str
    max_tokens: int | None = None
    max_input_tokens: int | None = None
    cache_minimum: int = 1_024
    structured: bool = False
    batch: bool = True
    temperature: bool = False
    thinking: tuple[str, ...] = ()
    thinks: bool = False
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    efforts_when_off: tuple[str, ...] = ()
    lifecycle: Lifecycle = "active"
    retires_at: date | None = None
    characters_a_token: int = 3
    known: bool = True

    def uses_schema(self, settings: Generation) -> bool:
        """Whether an answer's format is asked for as a schema, or in words."""
        return settings.structured and self.structured


def snapshot_facts(model: str) -> ModelFacts:
    """What the package's snapshot says of a model; the plainest facts where it says nothing."""
    told = snapshot_models().get(model)
    if told is None:
        return ModelFacts(model, known=False)
    return ModelFacts(
        id=model,
        max_tokens=told["max_tokens"],
        max_input_tokens=told["max_input_tokens"],
        cache_minimum=told["cache_minimum"],
        structured=told["structured"],
        batch=told["batch"],
        temperature=told["temperature"],
        thinking=tuple(told["thinking"]),
        thinks=told["thinks"],
        efforts=tuple(told["efforts"]),
        default_effort=told["default_effort"],
        efforts_when_off=tuple(told["efforts_when_off"]),
        lifecycle=told["lifecycle"],
        retires_at=told["retires_at"] and date.fromisoformat(told["retires_at"]),
        characters_a_token=told["characters_a_token"],
    )


@cache
def snapshot_models() -> dict[str, dict[str, Any]]:
    """The snapshot by model, each also under its other names."""
    older = set(_snapshot()["older_tokenizer"])
    models = [{**told, "characters_a_token": 4 if told["id"] in older else 3} for told in _snapshot()["models"]]
    return {name: told for told in models for name in (told["id"], *told["aliases"])}


def snapshot_date() -> date:
    """The day that the snapshot was taken."""
    return date.fromisoformat(_snapshot()["as_of"])


@cache
def _snapshot() -> Any:
    return orjson.loads(files("convoforge").joinpath("model_facts.json").read_bytes())
