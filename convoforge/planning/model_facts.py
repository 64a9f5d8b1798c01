"""Each model's parameters, limits and behavior: facts with a source and a date, never inferred from a name.

A run asks the API (`GET /v1/models/{id}`), whose answer takes precedence. The package has a snapshot (`model_facts.json`, with
its date and sources) for plans, which make no calls, for servers without that route, and for facts that the API does not report
(the minimum length that is cached, whether a model thinks by default, whether it takes a temperature).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from convoforge.errors import ConfigError
from convoforge.models import Provider
from convoforge.planning.spec import DatasetSpec, Generation
from convoforge.pricing import bare_model

Lifecycle = Literal["active", "deprecated", "retired"]
LIFECYCLES: tuple[Lifecycle, ...] = ("active", "deprecated", "retired")
EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING = ("adaptive", "between_tools", "disabled", "enabled")

_CACHED_FROM = 512
"""Minimum tokens that a new model is assumed to cache. If its minimum is higher, the first answer shows it, at no cost."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts about one model. Token limits are per request; None if unknown.

    `thinking` are the values that a request's `thinking.type` may have; `thinks` is whether the model thinks by default;
    `efforts` are the levels it takes, `efforts_when_off` those it takes with thinking turned off. `known` is false for a model
    without any facts, which gets the plainest request. `characters_a_token` is for English text: about 3 since Opus 4.7, whose
    tokenizer gives 30% more tokens than the one before (4). `reported` is whether the API itself has reported the facts.
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
    reported: bool = field(default=False, compare=False)

    def uses_schema(self, settings: Generation) -> bool:
        """Whether the answer's format is requested as a schema (else described in the prompt)."""
        return settings.structured and self.structured


def snapshot_facts(model: str) -> ModelFacts:
    """The package's snapshot of a model; the plainest facts if the snapshot does not have it."""
    entry = snapshot_models().get(model) or snapshot_models().get(bare_model(model).replace("@", "-"))
    if entry is None:
        return ModelFacts(model, known=False)
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    facts = {name: found[name] for name in ModelFacts.__dataclass_fields__ if name in found}
    return ModelFacts(**{**facts, "id": model, "retires_at": _date(entry["retires_at"])})


def pick_facts(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the relevant facts from an answer of `GET /v1/models/{id}`, small enough to store. Skips values of a wrong type."""
    found: dict[str, Any] = {}
    for name in ("max_tokens", "max_input_tokens"):
        if type(answer.get(name)) is int and 0 < answer[name] < 2**31:
            found[name] = answer[name]
    if answer.get("lifecycle") in LIFECYCLES:
        found["lifecycle"] = answer["lifecycle"]
        found["retires_at"] = _day(answer.get("retires_at"))
    can = _branch(answer, "capabilities")
    for name, capability in (("structured", "structured_outputs"), ("batch", "batch")):
        if (supported := _supported(can, capability)) is not None:
            found[name] = supported
    types, levels = _branch(can, "thinking", "types"), _branch(can, "effort")
    if types:
        found["thinking"] = [kind for kind in THINKING if _supported(types, kind)]
    if levels:
        found["efforts"] = [level for level in EFFORTS if _supported(levels, level)]
    return found


def merge_facts(snapshot: ModelFacts, reported: Mapping[str, Any]) -> ModelFacts:
    """Merge the API's facts about a model (see `pick_facts`) with the snapshot's. A model that the snapshot does not have is
    assumed to be new: it thinks unless thinking is turned off, and then takes at most high effort."""
    if not reported:
        return snapshot
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in reported.items()}
    if "lifecycle" in reported:
        found["retires_at"] = _date(reported.get("retires_at"))
    facts = replace(snapshot, **found, known=True, reported=True)
    if snapshot.known:
        return replace(facts, efforts_when_off=tuple(level for level in snapshot.efforts_when_off if level in facts.efforts))
    return replace(
        facts,
        cache_minimum=_CACHED_FROM,
        thinks="adaptive" in facts.thinking,
        default_effort="high" if "high" in facts.efforts else None,
        efforts_when_off=tuple(level for level in facts.efforts if level in EFFORTS[:3]),
    )


def is_elsewhere(provider: Provider, base_url: str) -> bool:
    """Whether requests go to a server that is neither Anthropic's own nor a simulator."""
    return provider == "anthropic" and urlsplit(base_url).hostname != "api.anthropic.com"


def check_model(facts: ModelFacts, spec: DatasetSpec, *, elsewhere: bool) -> None:
    """Raise `ConfigError` for a spec that cannot work with its model. `elsewhere`: a server other than Anthropic's answers, where
    a model that is retired in the snapshot may still be served."""
    if facts.lifecycle == "retired" and (facts.reported or not elsewhere):
        raise ConfigError(
            f"the model {facts.id} is retired{_since(facts)}: no request to it is answered. Change `model` in the spec"
        )
    check_max_tokens(facts, spec.generation)
    if spec.mode == "batch" and not facts.batch:
        raise ConfigError(
            f"mode: the model {facts.id} takes no message batches: set mode to online, and leave out the option `batch`"
        )


def check_max_tokens(facts: ModelFacts, settings: Generation) -> None:
    """Raise `ConfigError` if `max_tokens` is more than the model's maximum."""
    if facts.max_tokens is not None and settings.max_tokens > facts.max_tokens:
        raise ConfigError(
            f"generation.max_tokens: {settings.max_tokens:,} is more than the {facts.max_tokens:,} tokens that the model {facts.id} gives"
        )


def describe_model(facts: ModelFacts, settings: Generation) -> Iterator[str]:
    """Warnings about a model, before anything is spent."""
    if not facts.known:
        yield (
            f"nothing is known of the model {facts.id}: requests are kept plain, with the answer's format described in the prompt; "
            "thinking that it does by default is billed"
        )
    elif settings.structured and not facts.structured:
        yield f"the model {facts.id} takes no structured output: the answer's format is described in the prompt"
    if facts.lifecycle == "deprecated":
        when = f", and will be retired on {_written(facts.retires_at)}" if facts.retires_at else ""
        yield f"the model {facts.id} is deprecated{when}: choose a newer one"
    if facts.lifecycle == "retired":
        yield f"the model {facts.id} is retired{_since(facts)}: Anthropic answers no request to it"


def _since(facts: ModelFacts) -> str:
    return f" since {_written(facts.retires_at)}" if facts.retires_at else ""


def _written(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _branch(answer: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = answer.get(name)
        answer = inner if isinstance(inner, Mapping) else {}
    return answer


def _supported(answer: Mapping[str, Any], name: str) -> bool | None:
    supported = _branch(answer, name).get("supported")
    return supported if isinstance(supported, bool) else None


def _date(day: str | None) -> date | None:
    return date.fromisoformat(day) if day else None


def _day(moment: object) -> str | None:
    try:
        return date.fromisoformat(str(moment)[:10]).isoformat()
    except ValueError:
        return None


@cache
def snapshot_models() -> dict[str, dict[str, Any]]:
    """The snapshot's facts, by model id and alias."""
    older = set(_snapshot()["older_tokenizer"])
    models = [{**facts, "characters_a_token": 4 if facts["id"] in older else 3} for facts in _snapshot()["models"]]
    return {name: facts for facts in models for name in (facts["id"], *facts["aliases"])}


def snapshot_date() -> date:
    """Date of the snapshot."""
    return date.fromisoformat(_snapshot()["as_of"])


@cache
def _snapshot() -> Any:
    return orjson.loads(files("convoforge.planning").joinpath("model_facts.json").read_bytes())
