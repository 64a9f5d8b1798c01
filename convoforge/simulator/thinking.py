"""SimulatedThinking as the models do it: on unless a request turns it off, more with more effort, and within `max_tokens`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convoforge.simulator.catalogue import EFFORTS, THINKING, Model

TYPICAL = {"low": 150, "medium": 500, "high": 1_200, "xhigh": 3_000, "max": 8_000}
"""Tokens of thought before an answer, by effort: one answer takes half as many to half as many again."""

SUMMARY = "The person is worried, so the turns begin with what worries them and end with a next step."


class Refused(ValueError):
    """What the API has against a request."""


@dataclass(frozen=True, slots=True)
class SimulatedThinking:
    """What a request asks for: `effort` is None where nothing is thought; `budget` bounds what an older model thinks; `shown` is
    whether the thoughts come back in words."""

    effort: str | None = None
    budget: int | None = None
    shown: bool = False

    def tokens(self, key: int, max_tokens: int) -> int:
        """The tokens that are thought over the prompt with this hash, at most `max_tokens`."""
        if self.effort is None:
            return 0
        wanted = TYPICAL[self.effort] * (50 + key % 101) // 100
        return min(wanted, max_tokens, self.budget or wanted)


def read_thinking(given: Mapping[str, Any], effort: object, model: Model, max_tokens: int | None) -> SimulatedThinking:
    """What a request says with `thinking` and with the `effort` of its `output_config`. Raises `Refused` in the API's words.

    `max_tokens` is None for a token count."""
    kind = given.get("type")
    if given and kind not in THINKING:
        raise Refused(f"thinking.type: Input should be {', '.join(map(repr, THINKING))}")
    if kind is not None and kind not in model.thinking:
        raise Refused(f'"thinking.type.{kind}" is not supported for this model. {_instead(model)}')
    if effort is not None and effort not in EFFORTS:
        raise Refused(f"output_config.effort: Input should be {', '.join(map(repr, EFFORTS))}")
    if effort is not None and not model.efforts:
        raise Refused("This model does not support the effort parameter.")
    if effort is not None and effort not in model.efforts:
        raise Refused(f"This model does not support effort level '{effort}'. Supported levels: {', '.join(model.efforts)}.")
    if kind in ("disabled", "between_tools"):
        if effort is not None and effort not in model.efforts_when_off:
            levels = ", ".join(model.efforts_when_off)
            raise Refused(f"output_config.effort: '{effort}' cannot be used with thinking turned off; use {levels}")
        return SimulatedThinking()
    budget = _budget(given, max_tokens) if kind == "enabled" else None
    if kind is None and not model.thinks:
        return SimulatedThinking()
    level = effort if isinstance(effort, str) else model.default_effort or "high"
    return SimulatedThinking(level, budget, given.get("display") == "summarized")


def _budget(given: Mapping[str, Any], max_tokens: int | None) -> int:
    budget = given.get("budget_tokens")
    if type(budget) is not int:
        raise Refused("thinking.enabled.budget_tokens: Field required")
    if budget < 1024:
        raise Refused("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if max_tokens is not None and budget >= max_tokens:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return budget


def _instead(model: Model) -> str:
    if "between_tools" in model.thinking:
        return 'To turn thinking off on this model, send "thinking": {"type": "between_tools"}.'
    if "adaptive" in model.thinking:
        return 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
    return f"Supported types: {', '.join(model.thinking)}."
