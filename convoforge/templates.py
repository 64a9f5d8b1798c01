"""Templates and personas: YAML in, prompts out. Sandboxed Jinja with declared parameters.

A template that could fail while rendering is found when the plan is made, before a cent is spent: every variable must be
declared, every declared parameter and variation must be used, every parameter without a default must be given. What comes
from outside (axis values, parameters) is data for a template, never template code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, ValidationError

from convoforge.errors import ConfigError, nearest
from convoforge.models import ConversationRequest, Frozen, Label, Prompt
from convoforge.spec import Scalar, Slug, read_yaml

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
Model = TypeVar("Model", bound=Frozen)
_GIVEN = {"persona", "emotion", "topic", "tier", "parameters", "variation"}

Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class Persona(Frozen):
    """Somebody who speaks in a conversation. A free-text persona has no description and no voice."""

    name: Label
    speaks: Literal["user", "assistant"] = "user"
    description: str = ""
    voice: str = ""


class Parameter(Frozen):
    """A value a spec may set: one of `values` where they are listed; required where there is no `default`."""

    description: str
    values: tuple[Scalar, ...] | None = None
    default: Scalar | None = None


class Template(Frozen):
    """A prompt for the writing model, and what varies in it."""

    name: Slug
    version: int = Field(ge=1)
    description: str
    tiers: tuple[Label, ...] = Field(min_length=1)
    parameters: dict[Slug, Parameter] = Field(default_factory=dict)
    variation: dict[Slug, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(default_factory=dict)
    conversation_system: Text | None = None
    system: Text
    prompt: Text
    sha256: str

    @property
    def label(self) -> str:
        """Version and text, for lineage: ``1/3f2a9c01``."""
        return f"{self.version}/{self.sha256[:8]}"

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        parts = (self.system, self.prompt, self.conversation_system)
        return tuple(None if part is None else _ENVIRONMENT.from_string(part) for part in parts)  # type: ignore[return-value]

    def settings(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The parameters with defaults filled in. Raises `ConfigError` for a missing, unknown or not allowed one."""
        for key in given:
            if key not in self.parameters:
                raise ConfigError(f"template '{self.name}' declares no parameter '{key}'{nearest(key, self.parameters)}")
        filled = {key: given.get(key, parameter.default) for key, parameter in self.parameters.items()}
        for key, value in filled.items():
            allowed = self.parameters[key].values
            if value is None:
                raise ConfigError(f"template '{self.name}' needs the parameter '{key}': set it under `parameters:`")
            if allowed is not None and value not in allowed:
                raise ConfigError(
                    f"parameter '{key}' is {value!r}, but template '{self.name}' takes {', '.join(map(str, allowed))}"
                )
        return {key: value for key, value in filled.items() if value is not None}

    def render(self, request: ConversationRequest, persona: Persona, draw: int = 0) -> Prompt:
        """The prompt for one request. `draw` moves every list of variation on, each from a place of its own."""
        values = {
            "persona": persona,
            "emotion": request.emotion,
            "topic": request.topic,
            "tier": request.tier,
            "parameters": self.settings(request.parameters),
            "variation": self._pick(request, draw),
        }
        try:
            system, prompt, conversation_system = (part and part.render(values) for part in self._compiled)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise ConfigError(f"template '{self.name}' does not render: {error}") from None
        return Prompt(system.strip(), prompt.strip(), conversation_system.strip() if conversation_system else None)

    def _pick(self, request: ConversationRequest, draw: int) -> dict[str, str]:
        # Starting places differ by cell and list; steps by list: neighbouring draws share no line of a list longer than one,
        # and lists of equal length do not move in step.
        start = "\x1f".join((request.persona, request.emotion, request.topic, request.tier))
        picked = {}
        for number, (name, lines) in enumerate(self.variation.items()):
            place = int.from_bytes(hashlib.blake2b(f"{start}\x1f{name}".encode(), digest_size=6).digest())
            lap = draw // len(lines)
            picked[name] = lines[(place + draw + lap * number) % len(lines)]
        return picked


@dataclass(frozen=True, slots=True)
class Library:
    """The templates and personas of a config folder, read when asked for, each once."""

    folder: Path
    _templates: dict[str, Template]
    _personas: dict[str, Persona]

    @classmethod
    def at(cls, config_dir: Path) -> Library:
        return cls(config_dir, {}, {})

    def template(self, name: str) -> Template:
        """The template called `name`. Raises `ConfigError` where it is missing or wrong."""
        if name not in self._templates:
            folder = self.folder / "templates"
            path = folder / f"{name}.yaml"
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or not path.is_file():
                raise ConfigError(f"unknown template '{name}'{nearest(name, (p.stem for p in folder.glob('*.yaml')))}")
            self._templates[name] = _read_template(path)
        return self._templates[name]

    def persona(self, name: str) -> Persona:
        """The persona called `name`: with its file's description where there is one, else as it stands."""
        if name not in self._personas:
            path = self.folder / "personas" / f"{_slug(name)}.yaml"
            known = path.is_file() and _slug(name)
            self._personas[name] = _validate(Persona, read_yaml(path), path) if known else Persona(name=name)
        return self._personas[name]

    def describes(self, name: str) -> bool:
        """Whether a file describes this persona."""
        return bool(self.persona(name).description)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _read_template(path: Path) -> Template:
    raw = read_yaml(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    template = _validate(Template, {**raw, "name": path.stem, "sha256": sha256}, path)
    fault = _check_variables(template)
    if fault:
        raise ConfigError(f"{path}: {fault}")
    return template


def _validate(model: type[Model], raw: Mapping[str, Any], path: Path) -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        hint = nearest(str(fault["loc"][-1]), model.model_fields) if fault["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{path}: {where}: {fault['msg']}{hint}") from None


def _check_variables(template: Template) -> str:
    """What is wrong with the variables of a template's texts, or an empty string."""
    used: dict[str, set[str]] = {"parameters": set(), "variation": set(), "persona": set()}
    for part in ("system", "prompt", "conversation_system"):
        text = getattr(template, part)
        if text is None:
            continue
        try:
            tree = _ENVIRONMENT.parse(text)
            _ENVIRONMENT.from_string(text)
        except TemplateError as error:
            return f"{part}, line {getattr(error, 'lineno', '?')}: {error}"
        for name in sorted(meta.find_undeclared_variables(tree) - _GIVEN):
            return f"{part} uses '{name}', which nothing gives{nearest(name, _GIVEN)}"
        for node in tree.find_all(nodes.Getattr):
            if isinstance(node.node, nodes.Name) and node.node.name in used:
                used[node.node.name].add(node.attr)
    for kind, known in (
        ("parameters", set(template.parameters)),
        ("variation", set(template.variation)),
        ("persona", set(Persona.model_fields)),
    ):
        for name in sorted(used[kind] - known):
            return f"'{kind}.{name}' is used but not declared{nearest(name, known)}"
        if kind != "persona":
            for name in sorted(known - used[kind]):
                return f"'{kind}.{name}' is declared but used nowhere: use it or take it out"
    return ""
