"""What a prompt asks for, and what is therefore true in one conversation: names, sums, dates."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

ASKED = ("persona", "plays", "emotion", "topic", "tier", "scenario", "situation")
BULLETS = " \t>*_#`-\u2022.)0123456789"
WRAPPING = " \t\r*_`\"'."
ASIDE = re.compile(r"\s+[-\u2013\u2014]+\s.*|\s*[(;].*|[.:,]\s.*")
NO_SCENE = re.compile(r"^(?:none|any)\b|\b(?:client|customer|user)\b", re.IGNORECASE)
CLAUSE = re.compile(r"\b(?:is|are|has|have|does|goes|keeps|stops|fails|reports|makes|not|cannot)\b")

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAMES = (
    "Alma", "Amir", "Anna", "Bruno", "Carla", "Chen", "Clara", "Daniel", "Dana", "Elif", "Emma", "Felix", "Grace", "Hana",
    "Hugo", "Ines", "Ivan", "Jonas", "Julia", "Kofi", "Lara", "Leo", "Lena", "Liam", "Maya", "Marco", "Mina", "Nadia", "Nils",
    "Noor", "Olga", "Omar", "Paula", "Priya", "Rosa", "Ruben", "Sam", "Sara", "Sofia", "Theo", "Tom", "Uma", "Vera", "Victor",
    "Yara", "Zoe",
)  # fmt: skip
PARTNERS = ("husband", "wife", "partner", "fiance", "spouse")
RELATIVES = ("daughter", "son", "sister", "niece", "brother", "nephew", "stepson", "goddaughter", "cousin")
SOURCES = (
    "a podcast",
    "an article",
    "a colleague",
    "a video",
    "a newsletter",
    "somebody at work",
    "a forum",
    "a radio show",
    "a book I read",
)
WHEN = (
    "last week",
    "two days ago",
    "yesterday",
    "last night",
    "at the weekend",
    "this morning",
    "a week ago",
    "the other day",
    "overnight",
)
ITEMS = (
    "headphone set", "tablet", "printer", "vacuum robot", "keyboard", "camera", "smart watch", "monitor", "speaker", "phone",
    "projector", "game console", "smart lamp", "thermostat", "doorbell", "bathroom scale", "baby monitor", "dishwasher", "coffee machine",
    "laptop",
)  # fmt: skip

Draw = Callable[[], float]
"""A number in [0, 1), at random."""


def one_of(options: Sequence[str]) -> Callable[[Draw], str]:
    """One of these."""
    return lambda draw: options[int(draw() * len(options))]


def number(form: str, low: float, high: float, step: float = 1) -> Callable[[Draw], str]:
    """One of `low`, `low + step` … `high`, written as `form`."""
    count = round((high - low) / step) + 1
    return lambda draw: form.format(low + int(draw() * count) * step)


DRAWN = {
    "amount": number("${:,}", 4_000, 180_000, 250),
    "monthly": number("${:,}", 120, 1_900, 10),
    "yearly": number("${:,}", 31_000, 124_900, 100),
    "bill": number("${}", 17, 289),
    "percent": number("{}", 6, 28),
    "small": number("{}", 2, 5),
    "big": number("{}", 38, 69),
    "rate": number("{:.1f}", 3.1, 7.9, 0.1),
    "cardrate": number("{:.1f}", 18.9, 29.4, 0.1),
    "years": number("{}", 5, 27),
    "age": number("{}", 27, 63),
    "days": number("{}", 4, 19),
    "few": number("{}", 4, 6),
    "month": one_of(MONTHS),
    "weekday": one_of(WEEKDAYS),
    "when": one_of(WHEN),
    "order": number("{}", 10_000, 99_999),
    "ticket": number("CS-{}", 1_000, 9_999),
    "item": one_of(ITEMS),
    "agent": one_of(NAMES),
    "other": one_of(NAMES),
    "source": one_of(SOURCES),
    "partner": one_of([f"my {partner}" for partner in PARTNERS]),
    "relative": one_of([f"my {relative}" for relative in RELATIVES]),
}
"""What a conversation may need and a prompt does not say."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What a prompt asks for; empty where it does not say."""

    persona: str = ""
    plays: str = ""
    emotion: str = ""
    topic: str = ""
    tier: str = ""
    scenario: str = ""


def read_brief(prompt: str) -> Brief:
    """The brief in a prompt, from lines such as `Persona: Retiree` or `- **Topic:** taxes`; the last of each name counts.

    A scenario that is told about "the client" or "the customer" is left out: nobody says that about themselves.
    """
    found = {}
    for line in prompt.split("\n"):
        colon = line.find(":", 0, 24)
        if colon > 0 and (name := line[:colon].strip(BULLETS).lower()) in ASKED:
            found[name] = line[colon + 1 :].strip(WRAPPING)
    persona, plays, emotion, topic, tier = (
        ASIDE.sub("", found.get(name, ""))[:120] for name in ("persona", "plays", "emotion", "topic", "tier")
    )
    scenes = (found.get(name, "").replace("_", " ")[:240] for name in ("scenario", "situation"))
    scenario = next((scene for scene in scenes if scene and not NO_SCENE.search(scene)), "")
    return Brief(persona, plays, emotion, topic, tier, scenario)


@lru_cache(maxsize=2048)
def _told(brief: Brief) -> dict[str, str]:
    persona = soft(brief.persona) or "somebody new to this"
    topic = soft(brief.topic) or "this"
    return {
        "topic": f'the "{topic}" matter' if CLAUSE.search(topic) else topic,
        "persona": brief.persona,
        "a_persona": persona
        if persona.startswith(("a ", "an ", "the "))
        else f"{'an' if persona[0] in 'aeiou' else 'a'} {persona}",
        "emotion": soft(brief.emotion),
        "scenario": brief.scenario,
        "Scenario": brief.scenario[:1].upper() + brief.scenario[1:],
    }


class Facts(dict[str, str]):
    """What is true throughout one conversation, in the words of its user. A fact is drawn when it is first asked for."""

    def __init__(self, brief: Brief, draw: Draw) -> None:
        super().__init__(_told(brief))
        self._draw = draw

    def __missing__(self, name: str) -> str:
        bare = name.removesuffix("_cap")
        value = self[name] = DRAWN[name](self._draw) if bare == name else self[bare].capitalize()
        return value


class Theirs(dict[str, str]):
    """The same facts in the words of the other side: `my wife` is `your wife`."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self._facts = facts

    def __missing__(self, name: str) -> str:
        said = self._facts[name]
        value = self[name] = f"{'Y' if said[0] == 'M' else 'y'}our {said[3:]}" if said[:3] in ("my ", "My ") else said
        return value


def soft(label: str) -> str:
    """A label as it stands inside a sentence: `Market Volatility` is `market volatility`, but `learning Spanish` and `IRA` stay."""
    first, *others = label.replace("_", " ").split() or [""]
    title_case = all(word[0].isupper() for word in [first[:1] or "A", *others])
    return " ".join([lowered(first), *(map(lowered, others) if title_case else others)])


def lowered(word: str) -> str:
    """A word without its first capital, unless it has others too."""
    return word.lower() if word[1:] == word[1:].lower() else word
