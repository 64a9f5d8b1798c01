"""Reads configuration files: YAML without ambiguous values, validated by a model, with errors that say where and what.

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from convoforge.errors import ConfigError, nearest, shown
from convoforge.models import BareWord
from convoforge.planning.value_faults import describe_value_fault

LARGEST_FILE = 1_000_000
"""Maximum bytes of a YAML file: ten times the largest spec, and small enough to read without further checks."""

DEEPEST_FILE = 20
"""Maximum depth of lists and mappings in a YAML file: a spec has four levels."""

Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], raw: Mapping[str, Any], where: str = "") -> Model:
    """Validate a mapping with a model. Raises `ConfigError`, on one line that begins with `where`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}{list_faults(error, model)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file. Raises `ConfigError` if it cannot be read, is not YAML, or is not plain keys and values.

    Time and memory are bounded for any file, by its size, its depth, and because aliases are refused.
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
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # raised by constructors: 2024-13-45, !!bool x, …
        raise ConfigError(f"{path}: a value is not what it looks like: {error}") from None
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else "a list" if isinstance(raw, list) else shown(raw)
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
    """Valid YAML that different parsers read differently."""


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
        seconds = sum(float(part) * 60**power for power, part in enumerate(reversed(digits.split(":"))))
        number = f"{sign}{seconds:.15g}"
        return f'{text} is {number} to some readers of YAML and a text to others: write {number}, or "{text}" in quotes'
    plain = digits.removeprefix("0o").lstrip("0") or "0"
    number = f"{sign}{plain}" if "o" not in digits or set(plain) & set("89") else f"{sign}{int(plain[:20], 8)}"
    return f'{text} is octal to some readers of YAML, and to others it is not: write {number}, or "{text}" in quotes'


def _make_unambiguous(loader: Any) -> None:
    """Accept only true and false as booleans, and refuse numbers that parsers read differently."""
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


def check_folder(config_dir: Path) -> None:
    """Raise `ConfigError` if there is no config folder."""
    if not config_dir.is_dir():
        raise ConfigError(
            f"there is no folder {config_dir}: set CONVOFORGE_CONFIG_DIR to the folder that holds datasets, templates and personas"
        )


def list_faults(error: ValidationError, model: type[BaseModel]) -> str:
    """The first five faults of a value, on one line."""
    faults = error.errors(include_url=False)
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return f"{'; '.join(_fault(fault, model) for fault in faults[:5])}{more}"


def _fault(fault: Any, model: type[BaseModel]) -> str:
    loc = tuple(part for part in fault["loc"] if part != "[key]")
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)[1:-1]}" for part in loc).lstrip(".")
    if fault["type"] in ("extra_forbidden", "invalid_key"):
        return f"unknown key '{where}'{nearest(str(loc[-1]), find_owner(model, loc[:-1]).model_fields)}"
    if fault["type"] == "missing":
        return f"'{where}' is missing"
    prefix = f"{where}: " if where else ""
    return f"{prefix}{describe_value_fault(fault)}"


def find_owner(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    """The model of the object at a place in a value, as far down as there are models."""
    for part in path:
        field = next((one for name, one in model.model_fields.items() if part in (name, one.alias)), None)
        model = (field and _find_model(field.annotation)) or model
    return model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `list[Model] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_model, get_args(annotation))), None)
