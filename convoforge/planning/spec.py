"""A dataset spec: one YAML file that says what to make, checked strictly before anything else happens.

Unknown keys are errors that name the nearest known one. Every message says where in the file and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from convoforge.errors import ConfigError, nearest, shown
from convoforge.files import find_file
from convoforge.models import BareWord, Frozen, Label, Scalar
from convoforge.planning.config_files import check, check_folder, list_faults, read_yaml
from convoforge.pricing import PriceOverride

AXES = ("persona", "emotion", "topic", "tier")

ADHOC = "adhoc"
"""The dataset that holds requests which belong to none."""


def check_distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values as they are. Raises `ValueError` where there is none, or two are the same to the eye of a person."""
    if not values:
        raise ValueError("may not be empty")
    seen: dict[str, str] = {}
    for value in values:
        look = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
        if look in seen:
            twin, value = shown(seen[look]), shown(value)
            raise ValueError(f"{value} stands twice" if value == twin else f"{twin} and {value} are the same: take one out")
        seen[look] = value
    return values


def _dollars(value: Any, info: ValidationInfo) -> Any:
    # YAML reads 0.1 as a float; its shortest text is what the person wrote. Text is for JSON alone: what `text()` has written.
    if isinstance(value, float | int) and not isinstance(value, bool):
        return Decimal(f"{value:.15g}" if isinstance(value, float) else value)
    if isinstance(value, Decimal) or info.mode == "json":
        return value
    raise ValueError(f"{shown(value)} is no amount in US dollars, such as 5 or 0.25")


def matching(pattern: str, words: str) -> AfterValidator:
    """Texts of a pattern; `words` say in a message what is allowed."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{shown(value)} cannot be a name here: {words}")
        return value

    return AfterValidator(check)


Slug = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "up to 64 letters, digits, - and _")]
"""A name that may become a folder, a file or a limit."""

AccountName = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", "up to 40 letters, digits, - and _")]
"""Who pays: what datasets name that share the budget of a day."""

SplitName = Annotated[str, matching(r"[A-Za-z][A-Za-z0-9_]{0,31}", "up to 32 letters, digits and _, a letter first")]
"""What `datasets` takes as the name of a split."""

Values = Annotated[tuple[Label, ...], Strict(False), AfterValidator(check_distinct)]
Dollars = Annotated[Decimal, Strict(False), BeforeValidator(_dollars), Field(gt=0, le=1_000_000, decimal_places=6)]
Share = Annotated[float, Field(gt=0, lt=1)]


class SpecSection(Frozen):
    """A part of a file that a person writes: `true` is no number there, and neither is "5"."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _read_switches(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        switches = {key for key, field in cls.model_fields.items() if field.annotation is bool}
        return {key: value.truth if isinstance(value, BareWord) and key in switches else value for key, value in raw.items()}


class Axes(SpecSection):
    """The four axes whose product spans the cells."""

    persona: Values
    emotion: Values
    topic: Values
    tier: Values = ("template",)


def _off(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false, and people mean the same by `no`
    return "off" if value is False or (isinstance(value, str) and value.lower() in ("off", "no", "false")) else value


class Generation(SpecSection):
    """How the model is asked: `max_tokens` per answer, thinking included; structured output where the model takes it; temperature
    likewise. `thinking` off is the least thinking that the model can be brought to; `effort` null is the model's own default.
    `caching` off never marks anything for the API's prompt cache."""

    max_tokens: int = Field(default=4096, ge=256, le=21_000)
    structured: bool = True
    thinking: Annotated[Literal["off", "adaptive"], BeforeValidator(_off)] = "off"
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    caching: bool = True


ScorerName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*",
        "a scorer's name, or module:function",
    ),
]
"""A scorer or filter: by the name it is registered under, or by where it lies."""


FilterAction = Literal["drop", "revise", "mark", "off"]
"""What becomes of a conversation in which a filter finds a fault: it is dropped, left to a person, or accepted and marked with the
filter's name. `off`: the filter is not asked."""

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
        action = _off(action)
        if action not in get_args(FilterAction):
            raise ValueError(f"{name}: {shown(action)} is no action: write drop, revise, mark or off")
        return {"name": name, "action": action}
    if not isinstance(raw, dict):
        raise ValueError(f"{shown(raw)} is no filter: write its name, or NAME: ACTION")  # noqa: TRY004 - pydantic passes on no TypeError
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


class QualityRule(SpecSection):
    """A conversation is accepted from `min_score` (1–10) upwards, where no filter rejects it. `filters` are asked in their order;
    `allow` is what `markup` lets pass; `evaluation` are files of evaluation data, whose copies `contamination` finds."""

    min_score: int = Field(default=6, ge=1, le=10)
    scorers: Annotated[tuple[ScorerName, ...], Strict(False), AfterValidator(check_distinct)] = ("turns", "length", "structure")
    filters: Annotated[
        tuple[Annotated[FilterChoice, BeforeValidator(_read_choice)], ...], Strict(False), AfterValidator(_check_choices)
    ] = ()
    allow: Annotated[tuple[Allowed, ...], Strict(False)] = ()
    evaluation: Annotated[tuple[Label, ...], Strict(False)] = ()


class RateLimits(SpecSection):
    """The rate promised: at most `max_requests` in any `window_seconds`; `concurrency` calls in flight at once. A request that would
    wait for the rate longer than `max_wait_seconds` is refused; null: it waits as long as it takes."""

    max_requests: int = Field(default=50, ge=1, le=10_000_000)
    window_seconds: float = Field(default=60, gt=0, le=86_400)
    pause_threshold: float = Field(default=0.9, gt=0, lt=1)
    queue: bool = True
    concurrency: int = Field(default=5, ge=1, le=1_000)
    input_tokens: int | None = Field(default=None, ge=1)
    output_tokens: int | None = Field(default=None, ge=1)
    max_wait_seconds: float | None = Field(default=None, gt=0)


class Retry(SpecSection):
    """When a call is tried again: `max_attempts` for transient faults, `patience_seconds` for a full or overloaded API."""

    max_attempts: int = Field(default=3, ge=1, le=20)
    base_delay_seconds: float = Field(default=1, ge=0, le=3_600)
    max_delay_seconds: float = Field(default=300, ge=0, le=3_600)
    jitter_seconds: float = Field(default=1, ge=0, le=60)
    patience_seconds: float = Field(default=300, ge=0, le=86_400)
    timeout_seconds: float = Field(default=120, gt=0, le=3_600)


class Budget(SpecSection):
    """What may be spent, in US dollars: per run, on the dataset per UTC day, on the dataset over all runs. None is no cap.

    With an `account`, `day_usd` is what all datasets that name it may spend in a UTC day together. A run of a
    deployment whose estimate is above `approve_above_usd` waits for a yes. `alert_at` are the shares of a cap at which an alert is sent.
    """

    run_usd: Dollars | None = None
    day_usd: Dollars | None = None
    dataset_usd: Dollars | None = None
    account: AccountName | None = None
    approve_above_usd: Dollars | None = None
    alert_at: Annotated[tuple[Share, ...], Strict(False)] = (0.5, 0.8)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for wider in ("day_usd", "dataset_usd"):
            cap = getattr(self, wider)
            if self.run_usd is not None and cap is not None and cap < self.run_usd:
                raise ValueError(
                    f"{wider} {cap} is below run_usd {self.run_usd}: no run could spend that much; change one of them"
                )
        if self.account is not None and self.day_usd is None:
            raise ValueError(
                f"account '{self.account}' shares the budget of a day: give day_usd, the same in each of its datasets"
            )
        return self


def _check_language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}", value):
        raise ValueError(f"{shown(value)} is no language: write its code of two or three letters (ISO 639), such as en")
    return value


Language = Annotated[str, AfterValidator(_check_language)]
"""What the turns are written in."""


class Publish(SpecSection):
    """How rows become splits: fractions that add up to 1, whole groups of `group_by` values in one split."""

    splits: dict[SplitName, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: {"train": 0.9, "validation": 0.1}, min_length=1
    )
    group_by: Annotated[tuple[str, ...], Strict(False), AfterValidator(check_distinct)] = ("persona", "topic")

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(self.splits.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"splits add up to {total:.9g}, not to 1")
        if "all" in map(str.lower, check_distinct(tuple(self.splits))):
            raise ValueError("a split cannot be called 'all', which `datasets` takes for all splits together")
        for axis in self.group_by:
            if axis not in AXES:
                raise ValueError(f"group_by: unknown axis {shown(axis)}{nearest(axis, AXES)}")
        return self


class DatasetSpec(SpecSection):
    """What a dataset is: read with `load_spec`, never changed afterwards. `mode` is how requests are made: each at once, or in message
    batches, at half price and within a day. Answers of another model than `model` stop a run unless `allow_other_model` takes them."""

    name: Slug
    model: Label
    templates: Annotated[tuple[Slug, ...], Strict(False), AfterValidator(check_distinct)]
    axes: Axes
    parameters: dict[Slug, Scalar] = Field(default_factory=dict)
    per_cell: int = Field(default=1, ge=1, le=10_000)
    sample: int | None = Field(default=None, ge=1)
    max_draws: int = Field(default=3, ge=1, le=100)
    seed: int = Field(default=7, ge=0, lt=2**63)
    generation: Generation = Generation()
    quality: QualityRule = QualityRule()
    limits: RateLimits = RateLimits()
    retry: Retry = Retry()
    budget: Budget = Budget()
    publish: Publish = Field(default_factory=Publish)
    prices: PriceOverride | None = None
    mode: Literal["online", "batch"] = "online"
    allow_other_model: bool = False
    language: Language = "en"

    def text(self) -> str:
        """The spec as canonical JSON: what the ledger and the manifest keep."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The spec that `text` was written from. Raises `ConfigError` where it would be refused today."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(
                f"a spec kept by another version of convoforge: {list_faults(error, cls)}: build the dataset again"
            ) from None

    def sha256(self) -> str:
        """Identity of the spec's content, comments and order aside."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def load_spec(name: str | Path, config_dir: Path, *, model: str | None = None) -> DatasetSpec:
    """The spec called `name` (a name in `configs/datasets/`, or the path of a `.yaml` file). `model` takes the place of the file's.

    Raises `ConfigError`, on one line: what, where, what to do.
    """
    path = find_spec(name, config_dir)
    raw = read_yaml(path)
    if model is not None:
        raw["model"] = model
    spec = check(DatasetSpec, raw, f"{path}: ")
    if spec.name == ADHOC:
        raise ConfigError(f"{path}: name: '{ADHOC}' is where requests that belong to no dataset are kept: choose another")
    return spec


def change_spec(spec: DatasetSpec, **changes: Mapping[str, Any] | Any) -> DatasetSpec:
    """The spec with some values replaced, checked again: ``change_spec(spec, limits={"concurrency": 9}, model="…")``."""
    raw = spec.model_dump()
    for key, value in changes.items():
        part = raw.get(key) or {}
        raw[key] = {**part, **value} if isinstance(value, Mapping) and isinstance(part, Mapping) else value
    return check(DatasetSpec, raw)


def check_workers(spec: DatasetSpec, workers: int | None) -> None:
    """Raises `ConfigError` where workers are wished for, and there is nothing for them to do."""
    if workers is not None and spec.mode == "batch":
        raise ConfigError("workers have nothing to do where requests go out in batches: leave out one of the two")


def find_spec(name: str | Path, config_dir: Path) -> Path:
    """The file of a spec, by its name or its path. Raises `ConfigError` where there is none."""
    name, folder = str(name), config_dir / "datasets"
    if name.endswith((".yaml", ".yml")):
        path = find_file(Path(os.path.expanduser(name))) or ("/" not in name and find_file(folder / name))
        if not path:
            raise ConfigError(f"no spec at {shown(name)}: give a file that exists, or a name in {folder}")
        return path
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ConfigError(f"{shown(name)} is neither a dataset's name (letters, digits, - and _) nor a .yaml file")
    path = find_file(folder / f"{name}.yaml")
    if path is None:
        check_folder(folder.parent)
        raise ConfigError(f"unknown dataset '{name}'{nearest(name, (p.stem for p in folder.glob('*.yaml')))}")
    return path
