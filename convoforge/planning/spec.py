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
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
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
from convoforge.pricing import PriceOverride

AXES = ("persona", "emotion", "topic", "tier")

ADHOC = "adhoc"
"""The dataset that holds requests which belong to none."""

LARGEST_FILE = 1_000_000
"""Bytes of a YAML file: ten times the largest spec, and small enough to be read before anything is known of it."""

DEEPEST_FILE = 20
"""Lists and mappings inside each other: a spec has four."""

Model = TypeVar("Model", bound=BaseModel)


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
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

SplitName = Annotated[str, matching(r"[A-Za-z][A-Za-z0-9_]{0,31}", "up to 32 letters, digits and _, a letter first")]
"""What `datasets` takes as the name of a split."""

Values = Annotated[tuple[Label, ...], Strict(False), AfterValidator(distinct)]
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


class QualityRule(SpecSection):
    """A conversation is accepted from `min_score` (1–10) upwards, where no filter among the `scorers` rejects it."""

    min_score: int = Field(default=6, ge=1, le=10)
    scorers: Annotated[tuple[ScorerName, ...], Strict(False), AfterValidator(distinct)] = ("turns", "length", "structure")


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

    `alert_at` are the shares of a cap at which somebody wants to be told.
    """

    run_usd: Dollars | None = None
    day_usd: Dollars | None = None
    dataset_usd: Dollars | None = None
    alert_at: Annotated[tuple[Share, ...], Strict(False)] = (0.5, 0.8)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for wider in ("day_usd", "dataset_usd"):
            cap = getattr(self, wider)
            if self.run_usd is not None and cap is not None and cap < self.run_usd:
                raise ValueError(
                    f"{wider} {cap} is below run_usd {self.run_usd}: no run could spend that much; change one of them"
                )
        return self


class Publish(SpecSection):
    """How rows become splits: fractions that add up to 1, whole groups of `group_by` values in one split."""

    splits: dict[SplitName, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: {"train": 0.9, "validation": 0.1}, min_length=1
    )
    group_by: Annotated[tuple[str, ...], Strict(False), AfterValidator(distinct)] = ("persona", "topic")

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(self.splits.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"splits add up to {total:.9g}, not to 1")
        if "all" in map(str.lower, distinct(tuple(self.splits))):
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
    templates: Annotated[tuple[Slug, ...], Strict(False), AfterValidator(distinct)]
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
                f"a spec kept by another version of convoforge: {_faults(error, cls)}: build the dataset again"
            ) from None

    def sha256(self) -> str:
        """Identity of the spec's content, comments and order aside."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def load_spec(name: str | Path, config_dir: Path, *, model: str | None = None) -> DatasetSpec:
    """The spec called `name` (a name in `configs/datasets/`, or the path of a `.yaml` file). `model` fills in where the file names none.

    Raises `ConfigError`, on one line: what, where, what to do.
    """
    path = _find(str(name), config_dir / "datasets")
    raw = read_yaml(path)
    if model is not None:
        raw.setdefault("model", model)
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


def check(model: type[Model], raw: Mapping[str, Any], where: str = "") -> Model:
    """What a person wrote, as a value. Raises `ConfigError`, on one line that begins with `where`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}{_faults(error, model)}") from None


def check_workers(spec: DatasetSpec, workers: int | None) -> None:
    """Raises `ConfigError` where workers are wished for, and there is nothing for them to do."""
    if workers is not None and spec.mode == "batch":
        raise ConfigError("workers have nothing to do where requests go out in batches: leave out one of the two")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `ConfigError` where it cannot be read, is not YAML, or is more than plain keys and values.

    Bounded in time and memory, whatever the file: by its size, its depth, and by having no aliases.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(f"{path}: larger than {LARGEST_FILE:,} bytes: is this the right file?")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8 text'})") from None
    try:
        _check_shape(text)
        raw = yaml.load(text, Loader=_OnceLoader)  # noqa: S506 - a SafeLoader that also refuses a key given twice
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or str(error).replace("\n", " ")
        what = "" if isinstance(error, _AmbiguousError) else "not valid YAML: "
        raise ConfigError(f"{path}:{where} {what}{problem}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # what a loader lets through: 2024-13-45, !!bool x, …
        raise ConfigError(f"{path}: a value is not what it looks like: {error}") from None
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise ConfigError(f"{path}: expected keys and values (name: …), found {found}")
    return raw


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_shape(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem=f"an alias (*{event.anchor}): write it out", problem_mark=mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST_FILE:
            raise yaml.MarkedYAMLError(problem=f"more than {DEEPEST_FILE} levels deep", problem_mark=mark)


_OCTAL = r"[-+]?0(o[0-9_]*|_*)[0-9][0-9_]*$"
"""`010` is 8 in YAML 1.1 and 10 in YAML 1.2; `0o10` is a text in the one and 8 in the other."""

_SEXAGESIMAL = r"[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+$|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*$"
"""`1:30` is 90 in YAML 1.1 and a text in YAML 1.2."""


class _AmbiguousError(yaml.MarkedYAMLError):
    """Valid YAML that its readers do not agree on."""


class _OnceLoader(_Loader):  # type: ignore[misc]
    def construct_ambiguous(self, node: yaml.ScalarNode) -> None:
        raise _AmbiguousError(problem=_explain_number(node.value), problem_mark=node.start_mark)

    def construct_word(self, node: yaml.ScalarNode) -> BareWord:
        return BareWord(node.value)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {shown(key)} stands twice", problem_mark=key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _explain_number(text: str) -> str:
    sign, digits = ("-" if text.startswith("-") else ""), text.lstrip("+-").replace("_", "")
    if ":" in text:
        seconds = sum(float(part) * 60**place for place, part in enumerate(reversed(digits.split(":"))))
        number = f"{sign}{seconds:.15g}"
        return f'{text} is {number} to some readers of YAML and a text to others: write {number}, or "{text}" in quotes'
    plain = digits.removeprefix("0o").lstrip("0") or "0"
    number = f"{sign}{plain}" if "o" not in digits or set(plain) & set("89") else f"{sign}{int(plain[:20], 8)}"
    return f'{text} is octal to some readers of YAML, and to others it is not: write {number}, or "{text}" in quotes'


def _make_unambiguous(loader: Any) -> None:
    """Let true and false alone be switches, and refuse numbers that are read in two ways."""
    resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:bool"]
        for first, pairs in loader.yaml_implicit_resolvers.items()
    }
    for tag, pattern, firsts in (
        ("tag:yaml.org,2002:bool", r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
        ("!word", r"(yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$", "yYnNoO"),
        ("!ambiguous", _OCTAL, "-+0"),
        ("!ambiguous", _SEXAGESIMAL, "-+0123456789"),
    ):
        for first in firsts:
            resolvers.setdefault(first, []).insert(0, (tag, re.compile(pattern)))
    loader.yaml_implicit_resolvers = resolvers
    loader.add_constructor("!word", loader.construct_word)
    loader.add_constructor("!ambiguous", loader.construct_ambiguous)


_make_unambiguous(_OnceLoader)


def _find(name: str, folder: Path) -> Path:
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


def check_folder(config_dir: Path) -> None:
    """Raises `ConfigError` where there is no config folder at all."""
    if not config_dir.is_dir():
        raise ConfigError(
            f"there is no folder {config_dir}: set CONVOFORGE_CONFIG_DIR to the folder that holds datasets, templates and personas"
        )


_EXPECTED = {
    "tuple_type": "expected a list, as in [a, b]",
    "model_type": "expected keys and values",
    "dict_type": "expected keys and values",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "string_type": "expected a text",
    "too_short": "may not be empty",
    "string_too_short": "may not be empty",
}


def _faults(error: ValidationError, model: type[BaseModel]) -> str:
    faults = [_fault(fault, model) for fault in error.errors(include_url=False)]
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return f"{'; '.join(faults[:5])}{more}"


def _fault(fault: Any, model: type[BaseModel]) -> str:
    loc = tuple(part for part in fault["loc"] if part != "[key]")
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)[1:-1]}" for part in loc).lstrip(".")
    if fault["type"] in ("extra_forbidden", "invalid_key"):
        return f"unknown key '{where}'{nearest(str(loc[-1]), _keys_at(model, loc[:-1]))}"
    if fault["type"] == "missing":
        return f"'{where}' is missing"
    prefix = f"{where}: " if where else ""
    if fault["type"] == "value_error":
        return prefix + str(fault["ctx"]["error"])
    message = _EXPECTED.get(fault["type"]) or str(fault["msg"]).replace("Input should", "must")
    return f"{prefix}{message} (found {shown(fault['input'])})"


def _keys_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        model = _model_in(field.annotation) or model if field else model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if hasattr(annotation, "model_fields"):
        return annotation  # type: ignore[no-any-return]
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)
