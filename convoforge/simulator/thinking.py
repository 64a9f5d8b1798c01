"""Thinking as real models do it: on unless a request turns it off, more with more effort, and within `max_tokens`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convoforge.planning.model_facts import EFFORTS, THINKING
from convoforge.simulator.catalogue import Model
from convoforge.simulator.faults import ApiError

TYPICAL = {"low": 150, "medium": 500, "high": 1_200, "xhigh": 3_000, "max": 8_000}
"""Typical number of thinking tokens before an answer, by effort. An answer takes 0.5 to 1.5 times as many."""


def count_thinking(effort: str | None, key: int, max_tokens: int) -> int:
    """Number of thinking tokens for the prompt with this hash, at most `max_tokens`. Without an effort, thinking is off."""
    return 0 if effort is None else min(TYPICAL[effort] * (50 + key % 101) // 100, max_tokens)


def read_effort(given: Mapping[str, Any], effort: object, model: Model) -> str | None:
    """Read a request's `thinking` and the `effort` of its `output_config`: the effort that is thought with, None if thinking is off.
    Raises ApiError as the API would, and for thinking with a budget, which some older models take but no client here sends."""
    kind = given.get("type")
    if given and kind not in THINKING:
        raise ApiError(400, f"thinking.type: Input should be {', '.join(map(repr, THINKING))}")
    if kind is not None and kind not in model.thinking:
        raise ApiError(400, f'"thinking.type.{kind}" is not supported for this model. {_suggest(model)}')
    if effort is not None and effort not in EFFORTS:
        raise ApiError(400, f"output_config.effort: Input should be {', '.join(map(repr, EFFORTS))}")
    if effort is not None and not model.efforts:
        raise ApiError(400, "This model does not support the effort parameter.")
    if effort is not None and effort not in model.efforts:
        raise ApiError(400, f"This model does not support effort level '{effort}'. Supported levels: {', '.join(model.efforts)}.")
    if kind in ("disabled", "between_tools"):
        if effort is not None and effort not in model.efforts_when_off:
            levels = ", ".join(model.efforts_when_off)
            raise ApiError(400, f"output_config.effort: '{effort}' cannot be used with thinking turned off; use {levels}")
        return None
    if kind == "enabled":
        raise ApiError(400, "thinking.type: the simulator takes no thinking with a budget")
    if kind is None and not model.thinks:
        return None
    return effort if isinstance(effort, str) else model.default_effort or "high"


def _suggest(model: Model) -> str:
    if "between_tools" in model.thinking:
        return 'To turn thinking off on this model, send "thinking": {"type": "between_tools"}.'
    if "adaptive" in model.thinking:
        return 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
    return f"Supported types: {', '.join(model.thinking)}."
