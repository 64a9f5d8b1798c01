"""Whether and how much a model thinks before it answers, and the request parameters for it.

Thinking is billed as output and counts toward `max_tokens`, and the newest models think unless thinking is turned off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convoforge.errors import ConfigError
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.spec import Generation

_OFF = ("disabled", "between_tools")
"""The values that turn thinking off, the plainest first. Requests here have no tools, so `between_tools` turns it off too."""

_EXPECTED = {"low": 150, "medium": 500, "high": 1_200, "xhigh": 3_000, "max": 8_000}
"""Expected thinking tokens for one conversation, by effort: a rough guess, until the ledger has answers."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """The thinking settings of a request. `type` and `effort` are sent unless None. `thinks` is whether the model will think,
    `forced` whether it does although the spec says off. `level` is the resulting effort."""

    type: str | None
    effort: str | None
    thinks: bool
    forced: bool = False
    level: str | None = None

    @property
    def expected_tokens(self) -> int:
        return _EXPECTED.get(self.level or "high", _EXPECTED["high"]) if self.thinks else 0

    def add_to(self, body: dict[str, Any]) -> None:
        """Add the settings to the body of a request."""
        if self.type is not None:
            body["thinking"] = {"type": self.type}
        if self.effort is not None:
            body["output_config"] = {**body.get("output_config", {}), "effort": self.effort}


def thinking_of(facts: ModelFacts, settings: Generation) -> Thinking:
    """The thinking settings of requests to a model, from the spec's. Raises `ConfigError` for settings that it would refuse."""
    wanted, effort = settings.thinking, settings.effort
    if not facts.known:  # another server: the spec's values are sent, but not the default
        return Thinking(None if wanted == "off" else wanted, effort, wanted != "off", level=effort)
    if effort is not None and effort not in facts.efforts:
        todo = "choose one of these" if facts.efforts else "leave it out"
        raise ConfigError(f"generation.effort: {_takes(facts, facts.efforts)}, not {effort}: {todo}")
    if wanted == "adaptive":
        if "adaptive" not in facts.thinking:
            raise ConfigError(f"generation.thinking: the model {facts.id} takes no adaptive thinking: set it to off")
        return Thinking("adaptive", effort, thinks=True, level=effort or facts.default_effort)
    if not facts.thinks:
        return Thinking(None, effort, thinks=False)
    off = next((one for one in _OFF if one in facts.thinking), None)
    if off is None:
        level = effort or (facts.efforts[0] if facts.efforts else None)
        return Thinking(None, level, thinks=True, forced=True, level=level or facts.default_effort)
    if effort is not None and effort not in facts.efforts_when_off:
        raise ConfigError(
            f"generation.effort: with thinking off {_takes(facts, facts.efforts_when_off)}, not {effort}: "
            "choose one of these, or set generation.thinking to adaptive"
        )
    return Thinking(off, effort, thinks=False)


def takes_temperature(facts: ModelFacts, settings: Generation) -> bool:
    """Whether a temperature is sent (with the older API version): only some older models take one, and none while it thinks."""
    return facts.temperature and not thinking_of(facts, settings).thinks


def describe_thinking(facts: ModelFacts, settings: Generation) -> str | None:
    """A warning about the cost of thinking; None if the model will not think."""
    thinking = thinking_of(facts, settings)
    if not thinking.thinks:
        return None
    effort = f" at effort {thinking.level}" if thinking.level else ""
    thinks = f"cannot be kept from thinking: it thinks{effort}" if thinking.forced else f"thinks{effort}"
    until = "" if thinking.forced else " where nothing is known yet"
    return (
        f"{facts.id} {thinks}, which is billed as output and counts toward max_tokens ({settings.max_tokens:,}); "
        f"the estimate counts about {thinking.expected_tokens:,} tokens an answer{until}"
    )


def _takes(facts: ModelFacts, efforts: tuple[str, ...]) -> str:
    return f"the model {facts.id} takes {', '.join(efforts) or 'none'}"
