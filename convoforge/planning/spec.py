"""A dataset spec: one YAML file that says what to make, checked strictly before anything else happens.

Unknown keys are errors that name the nearest known one. Every message says where in the file and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationError, model_validator

from convoforge.errors import ConfigError, nearest, shown
from convoforge.files import find_file
from convoforge.models import Label, Role, Scalar
from convoforge.planning.config_files import check, check_folder, list_faults, read_yaml
from convoforge.planning.quality import QualityRule
from convoforge.planning.spec_values import (
    AccountName,
    Dollars,
    Share,
    Slug,
    SpecSection,
    SplitName,
    Values,
    check_distinct,
    read_off,
)
from convoforge.pricing import Price, PriceOverride, price_of

AXES = ("persona", "emotion", "topic", "tier")

ADHOC = "adhoc"
"""The dataset that holds requests which belong to none."""


class Axes(SpecSection):
    """The four axes whose product spans the cells."""

    persona: Values
    emotion: Values
    topic: Values
    tier: Values = ("template",)


class Generation(SpecSection):
    """How the model is asked: `max_tokens` per answer, thinking included; structured output where the model takes it; temperature
    likewise. `thinking` off is the least thinking that the model can be brought to; `effort` null is the model's own default.
    `caching` off never marks anything for the API's prompt cache. `avoid_repeats` tells each prompt how conversations close to it begin.
    Of several `candidates` in an answer, which the model writes with their likelihoods, the best one is kept: so many times the output."""

    max_tokens: int = Field(default=4096, ge=256, le=21_000)
    structured: bool = True
    thinking: Annotated[Literal["off", "adaptive"], BeforeValidator(read_off)] = "off"
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    caching: bool = True
    avoid_repeats: bool = False
    candidates: int = Field(default=1, ge=1, le=5)


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


def _check_language(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() != {"user", "assistant"}:
            raise ValueError("a language for each role has two: write {user: de, assistant: en}")
        return {role: _check_language(str(value[role])) for role in ("user", "assistant")}
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{2,3}", value):
        raise ValueError(f"{shown(value)} is no language: write its code of two or three letters (ISO 639), such as en")
    return value


Language = Annotated[str | dict[Role, str], BeforeValidator(_check_language)]
"""What the turns are written in: all of them, or those of each role."""


def _check_license(value: str) -> str:
    from packaging.licenses import InvalidLicenseExpression, _spdx, canonicalize_license_expression  # 25 ms, where one is named

    try:
        if value == "other" or (value.split() == [value] and canonicalize_license_expression(value)):
            return value
    except InvalidLicenseExpression:
        pass
    hint = nearest(value, (one["id"] for one in _spdx.LICENSES.values())).partition(" Known")[0].rstrip(".?")
    hint = f"{hint}? Or" if hint else ":"
    raise ValueError(
        f"{shown(value)} is no license{hint} write an SPDX identifier, such as CC-BY-4.0, LicenseRef-NAME for one of your own, or other"
    )


License = Annotated[str, AfterValidator(_check_license)]
"""Under which what is published may be used: an SPDX identifier, `LicenseRef-NAME` for one that is not among them, or `other`."""


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
    license: License | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (near := self.quality.near_duplicates) and self.name in near.datasets:
            raise ValueError(f"quality.near_duplicates.datasets: '{self.name}' is this dataset, which counts anyway: take it out")
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        return (self.language,) if isinstance(self.language, str) else tuple(sorted({*self.language.values()}))

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


def judge_spec(spec: DatasetSpec, max_tokens: int) -> DatasetSpec:
    """The spec that requests to its judge are sent by: the same limits, budget and mode, another model, and the shortest answers."""
    assert spec.quality.judge is not None
    own = spec.quality.judge.model == spec.model
    return spec.model_copy(
        update={
            "model": spec.quality.judge.model,
            "generation": Generation(max_tokens=max_tokens),
            "prices": spec.prices if own else None,
        }
    )


def price_judge(spec: DatasetSpec, *, batch: bool) -> Price:
    """What the model of a `judge_spec` costs. Raises `ConfigError` where no price of it is known."""
    try:
        return price_of(
            spec.model, batch=batch, overrides=spec.prices, advice="Change the name: `prices:` are the writer's alone."
        )
    except ConfigError as error:
        raise ConfigError(f"quality.judge.model: {error}") from None


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
