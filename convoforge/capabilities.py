"""What a model takes, by its name: so that a plan, which calls nothing, knows what a run will send.

From Anthropic's documentation as of November 2026. A run compares with what the API says of the model before it pays anything.
"""

from __future__ import annotations

import re

from convoforge.spec import Generation

_NAME = re.compile(r"claude-(?:(?P<old>\d)-.*|(?P<line>[a-z]+)-(?P<major>\d+)(?:-(?P<minor>\d{1,2})(?!\d))?.*)")


def uses_schema(model: str, settings: Generation) -> bool:
    """Whether an answer's shape is asked for as a schema, or in words."""
    return settings.structured and takes_structured(model)


def takes_structured(model: str) -> bool:
    """Whether `output_config` with a JSON schema is accepted: 4.1 and 4.5 onwards. Others are asked for JSON in words."""
    line, version = _parse(model)
    return version >= ((4, 1) if line == "opus" else (4, 5))


def takes_temperature(model: str) -> bool:
    """Whether a `temperature` is accepted (with the older API version): not from Opus 4.7 and the fifth generation on."""
    line, version = _parse(model)
    return (0, 0) < version < ((4, 7) if line == "opus" else (5, 0))


def cache_minimum(model: str) -> int:
    """How long a text must be, in tokens, for the API to keep it in its prompt cache."""
    line, version = _parse(model)
    if version >= (5, 5):
        return 512
    return 4_096 if line in ("haiku", "opus") and version >= (4, 5) else 1_024


def _parse(model: str) -> tuple[str, tuple[int, int]]:
    match = _NAME.fullmatch(model)
    if match is None:
        return "", (0, 0)  # not one of Anthropic's: promise nothing
    if match["old"]:
        return "", (int(match["old"]), 0)
    return match["line"], (int(match["major"]), int(match["minor"] or 0))
