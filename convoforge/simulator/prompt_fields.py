"""Reads persona, emotion, topic, tier and scenario from a prompt's lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAMES = ("persona", "plays", "emotion", "topic", "tier", "scenario")
MARKUP = " \t>*_#`-\u2022.)0123456789"
WRAPPING = " \t\r*_`\"'."
ASIDE = re.compile(r"\s+[-\u2013\u2014]+\s.*|\s*[(;].*|[.:,]\s.*")
NOT_SAID_BY_A_USER = re.compile(r"^(?:none|any)\b|\b(?:client|customer|user)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PromptFields:
    """The fields found in a prompt; missing ones are empty."""

    persona: str = ""
    plays: str = ""
    emotion: str = ""
    topic: str = ""
    tier: str = ""
    scenario: str = ""


def read_prompt_fields(prompt: str) -> PromptFields:
    """Read the fields in lines such as `Persona: Retiree` or `- **Topic:** taxes`; the last line of each name counts.

    A scenario that mentions "the client" or "the customer" is left out: users do not say that about themselves.
    """
    found = {}
    for line in prompt.split("\n"):
        colon = line.find(":", 0, 24)
        if colon > 0 and (name := line[:colon].strip(MARKUP).lower()) in NAMES:
            found[name] = line[colon + 1 :].strip(WRAPPING)
    scenario = found.pop("scenario", "").replace("_", " ")[:240]
    fields = {name: ASIDE.sub("", value)[:120] for name, value in found.items()}
    return PromptFields(**fields, scenario="" if NOT_SAID_BY_A_USER.search(scenario) else scenario)


def lower_label(label: str) -> str:
    """A label for use inside a sentence: `Market Volatility` becomes `market volatility`; `learning Spanish` and `IRA` stay."""
    first, *others = label.replace("_", " ").split() or [""]
    is_title = all(word[0].isupper() for word in [first[:1] or "A", *others])
    return " ".join([_lower_word(first), *(map(_lower_word, others) if is_title else others)])


def _lower_word(word: str) -> str:
    return word.lower() if word[1:] == word[1:].lower() else word
