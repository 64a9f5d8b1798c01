"""A dataset spec: one YAML file that says what to make, checked strictly before anything else happens.

Unknown keys are errors that name the nearest known one. Every message says where in the file and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from convoforge.errors import ConfigError, nearest
from convoforge.models import Frozen, Label
from convoforge.pricing import PriceOverride

Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""A name that may become a folder, a file or a limit: letters, digits, - and _."""

AXES = ("persona", "emotion", "topic", "tier")


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for value in values:
        if value.casefold() in seen:
            raise ValueError(f"'{value}' stands twice: each would be the same cell")
        seen.add(value.casefold())
    return values


def _money(value: Any) -> Any:
    # YAML reads 0.1 as a float; its shortest text is what the person wrote.
    return Decimal(str(value)) if isinstance(value, float) else value


Values = Annotated[tuple[Label, ...], Field(min_length=1), AfterValidator(_unique)]
Dollars = Annotated[Decimal, BeforeValidator(_money), Field(gt=0, le=1_000_000, decimal_places=6)]
SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,31}$")]
"""What `datasets` takes as the name of a split: letters, digits and _."""

Share = Annotated[float, Field(gt=0, lt=1)]
Scalar = str | int | float | bool


class Axes(Frozen):
    """The four axes whose product spans the cells."""

    persona: Values
    emotion: Values
    topic: Values
    tier: Values = ("template",)


class Generation(Frozen):
    """How the model is asked: `max_tokens` per answer; structured output where the model takes it; temperature likewise."""

    max_tokens: int = Field(default=4096, ge=256, le=21_000)
    structured: bool = True
    temperature: float | None = Field(default=None, ge=0, le=1)


class QualityRule(Frozen):
    """A conversation is accepted from `min_score` (1–10) upwards."""

    min_score: int = Field(default=6, ge=1, le=10)


class RateLimits(Frozen):
    """The rate promised: at most `max_requests` in any `window_seconds`; `concurrency` calls in flight at once."""

    max_requests: int = Field(default=50, ge=1, le=10_000_000)
    window_seconds: float = Field(default=60, gt=0, le=86_400)
    pause_threshold: float = Field(default=0.9, gt=0, lt=1)
    queue: bool = True
    concurrency: int = Field(default=5, ge=1, le=1_000)
    input_tokens: int | None = Field(default=None, ge=1)
    output_tokens: int | None = Field(default=None, ge=1)


class Retry(Frozen):
    """When a call is tried again: `max_attempts` for transient faults, `patience_seconds` for a full or overloaded API."""

    max_attempts: int = Field(default=3, ge=1, le=20)
    base_delay_seconds: float = Field(default=1, ge=0, le=3_600)
    max_delay_seconds: float = Field(default=300, ge=0, le=3_600)
    jitter_seconds: float = Field(default=1, ge=0, le=60)
    patience_seconds: float = Field(default=300, ge=0, le=86_400)
    timeout_seconds: float = Field(default=120, gt=0, le=3_600)


class Budget(Frozen):
    """What may be spent, in US dollars: per run, on the dataset over all runs, on the dataset per UTC day. None is no cap."""

    run_usd: Dollars | None = None
    dataset_usd: Dollars | None = None
    day_usd: Dollars | None = None
    alert_at: tuple[Share, ...] = (0.5, 0.8)


class Publish(Frozen):
    """How rows become splits: fractions that add up to 1, whole groups of `group_by` values in one split."""

    splits: dict[SplitName, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: {"train": 0.9, "validation": 0.1}, min_length=1
    )
    group_by: tuple[str, ...] = Field(default=("persona", "topic"), min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(self.splits.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"splits add up to {total:g}, not to 1")
        for axis in self.group_by:
            if axis not in AXES:
                raise ValueError(f"unknown axis '{axis}' in group_by{nearest(axis, AXES)}")
        return self


class DatasetSpec(Frozen):
    """What a dataset is: read with `load_spec`, never changed afterwards."""

    name: Slug
    model: Label
    templates: tuple[Slug, ...] = Field(min_length=1)
    axes: Axes
    parameters: dict[Slug, Scalar] = Field(default_factory=dict)
    per_cell: int = Field(default=1, ge=1, le=10_000)
    sample: int | None = Field(default=None, ge=1)
    max_draws: int = Field(default=3, ge=1, le=100)
    seed: int = 7
    generation: Generation = Generation()
    quality: QualityRule = QualityRule()
    limits: RateLimits = RateLimits()
    retry: Retry = Retry()
    budget: Budget = Budget()
    publish: Publish = Field(default_factory=Publish)
    prices: PriceOverride | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.templates)) < len(self.templates):
            raise ValueError("a template stands twice in `templates`")
        return self

    def text(self) -> str:
        """The spec as canonical JSON: what the ledger and the manifest keep."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)

    def sha256(self) -> str:
        """Identity of the spec's content, comments and order aside."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def load_spec(name: str | Path, config_dir: Path, *, model: str | None = None) -> DatasetSpec:
    """The spec called `name` (a name in `configs/datasets/`, or the path of a `.yaml` file). `model` fills in where the file names none.

    Raises `ConfigError` with one line per fault: what, where, what to do.
    """
    path = _find(name, config_dir / "datasets")
    raw = read_yaml(path)
    if model is not None:
        raw.setdefault("model", model)
    try:
        return DatasetSpec.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_say(error)}") from None


def change_spec(spec: DatasetSpec, **changes: Mapping[str, Any] | Any) -> DatasetSpec:
    """The spec with some values replaced, checked again: ``change_spec(spec, limits={"concurrency": 9}, model="…")``."""
    raw = spec.model_dump(mode="python")
    for key, value in changes.items():
        raw[key] = {**(raw[key] or {}), **value} if isinstance(value, Mapping) else value
    try:
        return DatasetSpec.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_say(error)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `ConfigError` where it is missing, not YAML, holds a key twice or is no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8 text'})") from None
    try:
        raw = yaml.load(text, Loader=_OnceLoader)  # noqa: S506 - a SafeLoader that also refuses duplicate keys
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{path}:{where} not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys and values (name: …), found {type(raw).__name__}")
    return raw


class _OnceLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key '{key}' stands twice", problem_mark=key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _find(name: str | Path, folder: Path) -> Path:
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ConfigError(f"no spec at {path}: give a file that exists, or a name in {folder}")
        return path
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text):
        raise ConfigError(f"'{text}' is neither a dataset's name (letters, digits, - and _) nor a .yaml file")
    path = folder / f"{text}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown dataset '{text}'{nearest(text, (p.stem for p in folder.glob('*.yaml')))}")
    return path


def _say(error: ValidationError) -> str:
    return "; ".join(_fault(fault) for fault in error.errors(include_url=False))


def _fault(fault: Any) -> str:
    loc: tuple[str | int, ...] = fault["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{where}'{nearest(str(loc[-1]), _keys_at(loc[:-1]))}"
    if fault["type"] == "missing":
        return f"'{where}' is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch":
        message = f"use letters, digits, - and _ only (it becomes a name of files); it must match {fault['ctx']['pattern']}"
    elif fault["type"] == "too_short":
        message = "may not be empty"
    value = fault.get("input")
    shown = f" (found {value!r})" if isinstance(value, Scalar) and fault["type"] != "value_error" else ""
    return f"{where or 'spec'}: {message}{shown}"


def _keys_at(loc: Iterable[str | int]) -> Iterable[str]:
    model: Any = DatasetSpec
    for part in loc:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            options = [annotation, *getattr(annotation, "__args__", ())]
            model = next((a for a in options if hasattr(a, "model_fields")), DatasetSpec)
    return list(model.model_fields)
