"""What a spec says about quality: the scorers and filters that are asked, and from which score a conversation is accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from convoforge.errors import shown
from convoforge.models import Frozen, Label
from convoforge.planning.spec_values import Slug, SpecSection, check_distinct, matching, read_off

ScorerName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*",
        "a scorer's name, or module:function",
    ),
]
"""A scorer or filter: by the name it is registered under, or by where it lies."""


FilterAction = Literal["drop", "revise", "mark", "redact", "off"]
"""What becomes of a conversation in which a filter finds a fault: it is dropped, left to a person, or accepted and marked with the
filter's name. `redact`: it is published with pseudonyms, for `pii` alone. `off`: the filter is not asked."""

DEFAULT_FILTERS = "default"
"""Stands in a list of filters for those that suit every dataset."""


class FilterChoice(Frozen):
    """A filter of a spec. Without an `action`, the filter's own decides."""

    name: ScorerName
    action: FilterAction | None = None


def _read_choice(raw: Any) -> Any:
    """`NAME` or `NAME: ACTION`, as a list in YAML has it."""
    if isinstance(raw, str):
        return {"name": raw}
    if isinstance(raw, dict) and len(raw) == 1 and not raw.keys() & FilterChoice.model_fields.keys():
        [(name, action)] = raw.items()
        action = read_off(action)
        if action not in get_args(FilterAction):
            raise ValueError(f"{name}: {shown(action)} is no action: write drop, revise, mark or off; pii knows redact, too")
        if action == "redact" and name != "pii":
            raise ValueError(f"{name}: only pii can be redacted: write drop, revise, mark or off")
        return {"name": name, "action": action}
    if not isinstance(raw, dict) or not raw.keys() <= FilterChoice.model_fields.keys():
        raise ValueError(f"{shown(raw)} is no filter: write its name, or NAME: ACTION")
    return raw


def _check_choices(choices: tuple[FilterChoice, ...]) -> tuple[FilterChoice, ...]:
    names = [choice.name for choice in choices]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{shown(twice)} stands twice")
    if any(choice.name == DEFAULT_FILTERS and choice.action for choice in choices):
        raise ValueError(f"'{DEFAULT_FILTERS}' takes no action: name the filters whose action is to change")
    return choices


Allowed = Literal["markdown", "lists", "code", "json", "html", "stage_directions", "emoji"]
"""What the filter `markup` may be told to let pass."""


class JudgeChoice(SpecSection):
    """A model that judges, by a rubric, what would be accepted otherwise. `min` are the points that criteria need, instead of the
    rubric's own; `action` is what becomes of a conversation that has fewer."""

    rubric: Slug
    model: Label = "claude-haiku-5-5"
    min: dict[Slug, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    action: Literal["drop", "revise", "mark"] = "revise"


MIN_ALIKE = 0.4
"""The least similarity that the ledger keeps of two conversations, and so the least that a spec may name."""


class NearDuplicates(SpecSection):
    """When a conversation repeats another one: both are alike to `threshold` or more, a share of what they have of runs of five words,
    digits aside. The later one is dropped, or left to a person (`action`). `datasets` are others, whose published conversations are not
    to be repeated either. What is alike to `cluster` or more stays in one split."""

    threshold: float = Field(default=0.55, ge=MIN_ALIKE, le=1)
    cluster: float = Field(default=0.45, ge=MIN_ALIKE, le=1)
    datasets: Annotated[tuple[Slug, ...], Strict(False)] = ()
    action: Literal["drop", "revise"] = "drop"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cluster > self.threshold:
            raise ValueError(f"cluster {self.cluster} is above threshold {self.threshold}: what is that much alike is dropped")
        return self


def _read_optional(value: Any) -> Any:
    return None if read_off(value) == "off" else value


class QualityRule(SpecSection):
    """A conversation is accepted from `min_score` (1–10) upwards, where no filter rejects it. `filters` are asked in their order;
    `allow` is what `markup` lets pass; `evaluation` are files of evaluation data, whose copies `contamination` finds. The `judge`
    costs money, and is asked only where nothing else rejects a conversation. With `near_duplicates` off, only exact copies are dropped."""

    min_score: int = Field(default=6, ge=1, le=10)
    scorers: Annotated[tuple[ScorerName, ...], Strict(False), AfterValidator(check_distinct)] = ("turns", "length", "structure")
    filters: Annotated[
        tuple[Annotated[FilterChoice, BeforeValidator(_read_choice)], ...], Strict(False), AfterValidator(_check_choices)
    ] = (FilterChoice(name=DEFAULT_FILTERS),)
    allow: Annotated[tuple[Allowed, ...], Strict(False)] = ()
    evaluation: Annotated[tuple[Label, ...], Strict(False)] = ()
    judge: Annotated[JudgeChoice | None, BeforeValidator(_read_optional)] = None
    near_duplicates: Annotated[NearDuplicates | None, BeforeValidator(_read_optional)] = NearDuplicates()
