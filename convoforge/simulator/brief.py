"""What a prompt asks for, and what is therefore true in one conversation: names, sums, dates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

LINE = re.compile(
    r"^[^\w\n]*(persona|plays|emotion|topic|tier|scenario|situation)\W*?:[^\w\n$]*([^\n]*)$", re.IGNORECASE | re.MULTILINE
)
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
NAMES = tuple(
    "Alma Amir Anna Bruno Carla Chen Clara Daniel Dana Elif Emma Felix Grace Hana Hugo Ines Ivan Jonas Julia Kofi Lara Leo Lena Liam "
    "Maya Marco Mina Nadia Nils Noor Olga Omar Paula Priya Rosa Ruben Sam Sara Sofia Theo Tom Uma Vera Victor Yara Zoe".split()
)
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
ITEMS = tuple(
    "headphone set,coffee machine,router,desk lamp,office chair,tablet,printer,vacuum cleaner,keyboard,camera,smart watch,kettle,monitor,"
    "speaker,phone,air purifier,toaster,projector,electric bike,sewing machine".split(",")
)


@dataclass(frozen=True, slots=True)
class Brief:
    """What a prompt asks for; empty where it does not say."""

    persona: str = ""
    emotion: str = ""
    topic: str = ""
    tier: str = ""
    plays: str = ""
    scenario: str = ""


def read_brief(prompt: str) -> Brief:
    """The brief in a prompt, from lines such as `Persona: Retiree` or `- **Topic:** taxes`; the last of each name counts.

    A scenario that is told about "the client" or "the customer" is left out: nobody says that about themselves.
    """
    found = {name.lower(): value.rstrip(" .*_`\"'\t\r") for name, value in LINE.findall(prompt)}
    scenes = (found.get(name, "").replace("_", " ")[:240] for name in ("scenario", "situation"))
    return Brief(
        *(ASIDE.sub("", found.get(name, ""))[:120] for name in ("persona", "emotion", "topic", "tier", "plays")),
        next((scene for scene in scenes if scene and not NO_SCENE.search(scene)), ""),
    )


def facts(brief: Brief, rng: Random) -> dict[str, str]:
    """What is true throughout one conversation, in the words of its user."""
    draw = rng.random

    def one(options: Sequence[str]) -> str:
        return options[int(draw() * len(options))]

    def number(low: int, high: int, step: int = 1) -> int:
        return low + int(draw() * ((high - low) // step + 1)) * step

    persona = soft(brief.persona) or "somebody new to this"
    topic = soft(brief.topic) or "this"
    known = {
        "topic": f'the "{topic}" matter' if CLAUSE.search(topic) else topic,
        "persona": brief.persona,
        "a_persona": persona
        if persona.startswith(("a ", "an ", "the "))
        else f"{'an' if persona[0] in 'aeiou' else 'a'} {persona}",
        "emotion": soft(brief.emotion),
        "scenario": brief.scenario,
        "Scenario": brief.scenario[:1].upper() + brief.scenario[1:],
        "amount": f"${number(4_000, 180_000, 250):,}",
        "monthly": f"${number(120, 1_900, 10):,}",
        "yearly": f"${number(31, 124)},{number(0, 9)}00",
        "bill": f"${number(17, 289)}",
        "percent": str(number(6, 28)),
        "small": str(number(2, 5)),
        "big": str(number(38, 86)),
        "rate": str(number(31, 79) / 10),
        "cardrate": str(number(189, 294) / 10),
        "years": str(number(5, 27)),
        "age": str(number(27, 63)),
        "days": str(number(4, 19)),
        "few": str(number(4, 6)),
        "month": one(MONTHS),
        "weekday": one(WEEKDAYS),
        "when": one(WHEN),
        "order": str(number(10_000, 99_999)),
        "ticket": f"CS-{number(1_000, 9_999)}",
        "item": one(ITEMS),
        "agent": one(NAMES),
        "other": one(NAMES),
        "source": one(SOURCES),
        "partner": "my " + one(PARTNERS),
        "relative": "my " + one(RELATIVES),
    }
    return with_capitals(known)


def theirs(known: Mapping[str, str]) -> dict[str, str]:
    """The same facts in the words of the other side: `my wife` is `your wife`."""
    return with_capitals({**known, **{name: known[name].replace("my ", "your ", 1) for name in ("partner", "relative")}})


def with_capitals(known: dict[str, str]) -> dict[str, str]:
    for name in ("source", "partner", "relative"):
        known[f"{name}_cap"] = known[name].capitalize()
    return known


def soft(label: str) -> str:
    """A label as it stands inside a sentence: `Market Volatility` is `market volatility`, but `learning Spanish` and `IRA` stay."""
    first, *others = label.replace("_", " ").split() or [""]
    title_case = all(word[0].isupper() for word in [first[:1] or "A", *others])
    return " ".join([lowered(first), *(map(lowered, others) if title_case else others)])


def lowered(word: str) -> str:
    return word.lower() if word[1:] == word[1:].lower() else word
