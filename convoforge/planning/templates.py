"""Templates and personas: reads YAML, renders prompts. Sandboxed Jinja with declared parameters.

A template that could fail while rendering is found when the plan is made, before anything is paid: every variable must be
declared, every declared parameter and variation must be used, every parameter without a default must be given. Input (axis
values, parameters) is data for a template, never template code.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from jinja2 import StrictUndefined, TemplateError, Undefined, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, Field, Strict, StringConstraints, model_validator

from convoforge.errors import ConfigError, nearest, shown
from convoforge.files import find_file
from convoforge.models import ConversationRequest, Label, Prompt, Scalar
from convoforge.planning.config_files import check, check_folder, read_yaml
from convoforge.planning.sampling import walk
from convoforge.planning.spec_values import Slug, SpecSection, Values, check_distinct, matching
from convoforge.planning.variety import find_start

_GIVEN = {"persona", "emotion", "topic", "tier", "parameters", "variation"}
_TEXTS = ("system", "prompt", "conversation_system")
_MAX_PERSONAS = 10_000
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "convoforge:templates")


def _printable(value: Any) -> Any:
    # Anything else would print as `<built-in method upper of str object at 0x7f…>`: a different prompt, paid again, on every run.
    if isinstance(value, str | int | float | Undefined):
        return value
    raise TypeError(f"a {type(value).__name__} is printed where a text or a number belongs")


class _Group:
    """Values under one name for a template, which can reach nothing else through it, whatever the values are called."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Scalar:
        return self._values[name]


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, finalize=_printable
)
_ENVIRONMENT.globals.clear()  # `lipsum` is random, the rest is not needed
del _ENVIRONMENT.filters["random"]

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100_000)]
Name = Annotated[str, matching(r"[A-Za-z][A-Za-z0-9_]{0,63}", "up to 64 letters, digits and _, a letter first")]
"""A name after `parameters.` or `variation.` in a template."""

Lines = Annotated[tuple[Text, ...], Strict(False), AfterValidator(check_distinct)]


class Persona(SpecSection):
    """A speaker in a conversation. A free-text persona has no description and no voice."""

    name: Label
    speaks: Literal["user", "assistant"] = "user"
    description: str = ""
    voice: str = ""

    @property
    def text(self) -> str:
        """All of its prose."""
        return f"{self.description}\n{self.voice}"


class Parameter(SpecSection):
    """A value that a spec may set: one of `values` if they are listed; required if there is no `default`."""

    description: str
    values: Annotated[tuple[Scalar, ...], Strict(False), Field(min_length=1)] | None = None
    default: Scalar | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.default is not None and not self.takes(self.default):
            raise ValueError(f"the default {shown(self.default)} is none of the values")
        return self

    def takes(self, value: Scalar) -> bool:
        """Whether `value` is allowed. True is not 1."""
        return self.values is None or (value, isinstance(value, bool)) in [(one, isinstance(one, bool)) for one in self.values]


class Target(SpecSection):
    """The size that a template asks for: minimum and maximum number of turns, and of characters in each turn."""

    turns: Annotated[tuple[int, int], Strict(False)] = (8, 16)
    characters: Annotated[tuple[int, int], Strict(False)] = (100, 400)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, (low, high) in (("turns", self.turns), ("characters", self.characters)):
            if not 0 < low <= high <= 100_000:
                raise ValueError(f"{name} {low} to {high}: give the least and the most, as in [8, 16]")
        return self


class Template(SpecSection):
    """A prompt for the generating model, and its variations. `target` is the size it asks for, on which estimates are based."""

    name: Slug
    version: int = Field(ge=1)
    description: str
    tiers: Values
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    variation: dict[Name, Lines] = Field(default_factory=dict)
    target: Target = Target()
    conversation_system: Text | None = None
    system: Text
    prompt: Text
    sha256: str

    def check_tier(self, tier: str) -> None:
        """Raises `ConfigError` for a tier that the template does not serve."""
        if tier not in self.tiers:
            raise ConfigError(f"template '{self.name}' serves {', '.join(self.tiers)}, not the tier '{tier}'")

    @property
    def label(self) -> str:
        """Version and text, for lineage: ``1/3f2a9c01``."""
        return f"{self.version}/{self.sha256[:8]}"

    @property
    def id(self) -> str:
        """A UUID made from the name, the same everywhere, for callers who store ids."""
        return _template_id(self.name)

    @property
    def variations(self) -> int:
        """Number of different draws of a cell before the first prompt repeats."""
        return prod(self.sizes.values())

    @property
    def sizes(self) -> dict[str, int]:
        """Number of lines of each variation list."""
        return {name: len(lines) for name, lines in self.variation.items()}

    @property
    def text(self) -> str:
        """All of its prose: system text, prompt, the system turn to publish, variations."""
        variations = (line for lines in self.variation.values() for line in lines)
        return "\n".join([self.system, self.prompt, self.conversation_system or "", *variations])

    @cached_property
    def shared(self) -> bool:
        """Whether `system` is the same in all requests."""
        return not meta.find_undeclared_variables(_ENVIRONMENT.parse(self.system))

    @cached_property
    def _compiled(self) -> tuple[Any, ...]:
        return tuple(_ENVIRONMENT.from_string(getattr(self, part) or "") for part in _TEXTS)

    def settings(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The parameters, with defaults filled in. Raises `ConfigError` for a missing or unknown one, or a value not allowed."""
        for name in given:
            if name not in self.parameters:
                raise ConfigError(f"template '{self.name}' declares no parameter '{name}'{nearest(name, self.parameters)}")
        filled = {}
        for name, parameter in self.parameters.items():
            value = given.get(name, parameter.default)
            if value is None:
                raise ConfigError(f"template '{self.name}' needs the parameter '{name}': set it under `parameters:`")
            if not parameter.takes(value):
                allowed = ", ".join(map(shown, parameter.values or ()))
                raise ConfigError(f"parameter '{name}' is {shown(value)}, but template '{self.name}' takes {allowed}")
            filled[name] = value
        return filled

    def render(self, request: ConversationRequest, persona: Persona, draw: int = 0, lines: str | None = None) -> Prompt:
        """Render the prompt for one request. `draw` advances every variation list from its start position: the one in `lines` (see
        `variety`), or one of its own.

        Raises `ConfigError` for invalid parameters, and if the texts cannot be rendered with these values.
        """
        parameters, variation = self.settings(request.parameters), self._pick(request, draw, lines)
        values = {
            "persona": _Group(persona.model_dump()),
            "emotion": request.emotion,
            "topic": request.topic,
            "tier": request.tier,
            "parameters": _Group(parameters),
            "variation": _Group(variation),
        }
        try:
            system, prompt, conversation_system = (part.render(values).strip() for part in self._compiled)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            raise ConfigError(f"template '{self.name}' does not render: {error}") from None
        if not system or not prompt:
            empty = "prompt" if system else "system"
            raise ConfigError(f"template '{self.name}' does not render: nothing is left of `{empty}`")
        drawn = json.dumps(
            {"parameters": parameters, "variation": variation}
        )  # orjson refuses half a surrogate pair and large numbers
        return Prompt(system, prompt, conversation_system or None, self.shared, drawn)

    def _pick(self, request: ConversationRequest, draw: int, lines: str | None) -> dict[str, str]:
        starts = [*map(int, (lines or "").split())]
        if len(starts) != len(self.variation):  # none are kept, or the template has got other lists since
            cell = request.persona, request.emotion, request.topic, request.tier
            starts = [find_start(*cell, name) for name in self.variation]
        return {
            name: some[(start + step) % len(some)]
            for start, step, (name, some) in zip(starts, walk([*self.sizes.values()], draw), self.variation.items(), strict=True)
        }


@dataclass(frozen=True, slots=True)
class Library:
    """The templates and personas of a config folder, each read once when first used."""

    folder: Path
    _templates: dict[str, Template]
    _personas: dict[str, Persona]

    @classmethod
    def at(cls, config_dir: Path) -> Library:
        return cls(config_dir, {}, {})

    def template(self, name: str) -> Template:
        """The template with this name or id. Raises `ConfigError` if it is missing or invalid."""
        if name not in self._templates:
            known = self.names()
            found = next((one for one in known if one == name or _template_id(one) == name.lower()), None)
            if found is None:
                check_folder(self.folder)
                raise ConfigError(f"unknown template {shown(name)}{nearest(name, known)}")
            if found != name:
                return self.template(found)
            self._templates[name] = _read_template(self.folder / "templates" / f"{name}.yaml")
        return self._templates[name]

    def names(self) -> list[str]:
        """The sorted names of all templates, including unreadable ones."""
        files = (path for path in (self.folder / "templates").glob("*.yaml") if path.is_file())
        return sorted(path.stem for path in files if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem))

    def list_personas(self) -> list[str]:
        """The sorted names of the personas that have a file. Raises `ConfigError` for an invalid file."""
        return sorted(_read_persona(path).name for path in (self.folder / "personas").glob("*.yaml"))

    def persona(self, name: str) -> Persona:
        """The persona with this name, from its file if there is one, else only a name. Raises `ConfigError` for an invalid file.

        The file's name, in either Unicode form, is the persona's letters and digits in lower case, with - between words.
        """
        if name not in self._personas:
            if len(self._personas) >= _MAX_PERSONAS:  # callers of the API may send any number of names
                self._personas.clear()
            path = find_file(self.folder / "personas" / f"{_slug(name)}.yaml")
            self._personas[name] = _read_persona(path) if path else Persona(name=name)
        return self._personas[name]

    def describes(self, name: str) -> bool:
        return bool(self.persona(name).description)


def _template_id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))


def _slug(name: str) -> str:
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", name).casefold()).strip("-")


def _read_persona(path: Path) -> Persona:
    persona = check(Persona, read_yaml(path), f"{path}: ")
    if _slug(persona.name) != unicodedata.normalize("NFC", path.stem):
        raise ConfigError(f"{path}: name: '{persona.name}' belongs in {_slug(persona.name)}.yaml: rename the file or the persona")
    return persona


def _read_template(path: Path) -> Template:
    raw = read_yaml(path)
    for key in ("name", "sha256"):
        if key in raw:
            raise ConfigError(f"{path}: unknown key '{key}': a template is called by the name of its file")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    template = check(Template, {**raw, "name": path.stem, "sha256": sha256}, f"{path}: ")
    for fault in _faults(template):
        raise ConfigError(f"{path}: {fault}")
    return template


def _faults(template: Template) -> Iterator[str]:
    """Yield the errors in the variables of a template's texts."""
    known = {"parameters": set(template.parameters), "variation": set(template.variation), "persona": set(Persona.model_fields)}
    used: dict[str, set[str]] = {group: set() for group in known}
    for part in _TEXTS:
        try:
            tree = _ENVIRONMENT.parse(getattr(template, part) or "")
            _ENVIRONMENT.compile(tree)
        except TemplateError as error:
            yield f"{part}, line {getattr(error, 'lineno', '?')}: {error}"
            return
        for name in sorted(meta.find_undeclared_variables(tree) - _GIVEN):
            yield f"{part} uses '{name}', which nothing gives{nearest(name, _GIVEN)}"
        yield from (f"{part}: {fault}" for fault in _uses(tree, used))
    for group, names in known.items():
        for name in sorted(used[group] - names):
            yield f"'{group}.{name}' is used but not declared{nearest(name, names)}"
        for name in sorted(names - used[group]) if group != "persona" else ():
            yield f"'{group}.{name}' is declared but used nowhere: use it or take it out"


def _uses(tree: nodes.Template, used: dict[str, set[str]]) -> Iterator[str]:
    """Add the names used from parameters, variation and persona to `used`; yield an error for each use only known when
    rendering."""
    taken = []
    for dotted in tree.find_all(nodes.Getattr):
        taken.append((dotted.node, dotted.attr))
    for bracketed in tree.find_all(nodes.Getitem):
        if isinstance(bracketed.arg, nodes.Const) and isinstance(bracketed.arg.value, str):
            taken.append((bracketed.node, bracketed.arg.value))
    known = {id(owner) for owner, _ in taken}
    for owner, name in taken:
        if isinstance(owner, nodes.Name) and owner.name in used:
            used[owner.name].add(name)
    for node in tree.find_all(nodes.Name):
        if node.name in _GIVEN and node.ctx != "load":
            yield f"line {node.lineno}: '{node.name}' is given and cannot be set: use another name"
        elif node.name in used and id(node) not in known:
            yield f"line {node.lineno}: write {node.name}.NAME in full: what is used must be known before anything is rendered"
