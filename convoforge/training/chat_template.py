"""A chat template, as transformers renders it: Jinja in its sandbox. A template comes with a model, from anybody: it must not run code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from convoforge.errors import ConfigError, ConvoforgeError

Messages = Sequence[Mapping[str, str]]
"""The turns of a conversation, each with its `role` and `content`."""


class TemplateFault(ConvoforgeError):
    """A conversation that a chat template cannot render, in one line."""


class _Generation(Extension):
    """`{% generation %}` marks what is learned; here it stands for what is in it."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A compiled template, with the special tokens it may name (`bos_token`, `eos_token` …)."""

    template: Any
    special_tokens: Mapping[str, str]

    @classmethod
    def compile(cls, text: str, special_tokens: Mapping[str, str], now: datetime) -> ChatTemplate:
        """Raises ConfigError for a text that is no template. `now` is what a template is told where it asks for the date."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _raise, "strftime_now": now.strftime}
        try:
            return cls(environment.from_string(text), special_tokens)
        except TemplateError as error:
            raise ConfigError(f"the chat template cannot be read: {_line(error)}") from error

    def render(self, messages: Messages) -> str:
        """The text that a model is trained on. Raises TemplateFault."""
        try:
            return str(self.template.render(messages=messages, add_generation_prompt=False, **self.special_tokens))
        except Exception as error:  # a template may do whatever Jinja lets it: divide by zero, add text to a number
            raise TemplateFault(_line(error)) from error


def _to_json(
    value: object, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is, where Jinja's own filter escapes what HTML knows."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: object) -> None:
    raise TemplateError(str(message))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
