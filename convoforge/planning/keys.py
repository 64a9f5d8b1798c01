"""The two keys of a conversation, which must not be mixed up.

The *draw key* identifies what a plan requests: dataset, provider, cell, draw number. The *request fingerprint* identifies what is
paid for: model, rendered prompt, and settings that differ from their defaults. A golden test pins both: a release that changed
them would pay for everything again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from sys import intern
from typing import Any

import orjson

from convoforge.models import Prompt
from convoforge.planning.spec import Generation

KEY_VERSION = 1

# caching changes the bill, not the request's meaning; what is to be avoided depends on other answers
_DEFAULTS = Generation().model_dump(exclude={"caching", "avoid_repeats"})


def cell_key(dataset: str, provider: str, values: Mapping[str, str]) -> str:
    """The key of a cell: 32 hex digits."""
    return intern(_digest({"v": KEY_VERSION, "dataset": dataset, "provider": provider, "cell": dict(values)})[:32])


def draw_key(cell: str, draw: int) -> str:
    """The key of one draw of a cell."""
    return f"{cell}/{draw}"


def request_fingerprint(model: str, prompt: Prompt, settings: Generation) -> str:
    """The fingerprint of a request to the API: 64 hex digits. Excludes the system turn that is only published."""
    differing = {key: value for key in _DEFAULTS if (value := getattr(settings, key)) != _DEFAULTS[key]}
    return _digest({"v": KEY_VERSION, "model": model, "system": prompt.system, "user": prompt.user, "settings": differing})


def conversation_id(key: str, fingerprint: str) -> str:
    """The id of a conversation in a dataset: 24 hex digits; another prompt for the same draw gives another id."""
    return hashlib.sha256(f"{key}\x1f{fingerprint}".encode()).hexdigest()[:24]


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
