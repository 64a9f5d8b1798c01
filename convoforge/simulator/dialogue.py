"""Conversations as a model might write them, drawn from banks of phrases: the same prompt and seed always give the same one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import TypeVar

from convoforge.simulator import phrases
from convoforge.simulator.grammar import Pattern, pattern, say
from convoforge.simulator.phrases import Domain, Feeling, Theme
from convoforge.simulator.phrases_advice import ADVICE
from convoforge.simulator.phrases_any import ANY
from convoforge.simulator.phrases_support import SUPPORT
from convoforge.simulator.prompt_fields import Brief, Facts, Theirs, read_brief

WEAK_SHARE = 0.08
SIX_TURNS_SHARE = 0.1
EXCHANGES = (4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 8)
EXTRAS = ("concept", "twist", "objection", "plan", "detail", "doubt", "second detail")
"""What may come between the explanation and the end, in this order. The plan always does."""

LINKS = tuple(map(pattern, ("First,", "[Second|Then|After that|Next],", "[Finally|Last|And last|Third],")))
ROLE_WORD = re.compile(r"(?:er|or|ist|ee|ent|ant|man|woman|ian|ive|ic|al|ple)$", re.IGNORECASE)

TurnDict = dict[str, str]
Exchange = tuple[list[Pattern], list[Pattern]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """The banks that suit a brief. `manner` is empty where the persona is the assistant's."""

    domain: Domain
    theme: Theme
    feeling: Feeling
    manner: tuple[Pattern, ...]
    helper: bool


def conversation(prompt: str, seed: int, *, weak: bool = False) -> list[TurnDict]:
    """Turns with `role` and `content`, the user's first and the assistant's last, about what the prompt asks for.

    About eight in a hundred are poor (under 6 in the rubric); `weak` asks for such a one.
    """
    rng = Random(seed)
    poor = rng.random() < WEAK_SHARE or weak
    brief = read_brief(prompt)
    exchanges = poor_outline(rng) if poor else outline(brief, setting(brief), rng)
    user = Facts(brief, rng.random)
    speakers = (("user", user), ("assistant", Theirs(user)))
    return [
        {"role": role, "content": " ".join([say(words, rng.random, facts) for words in parts])}
        for exchange in exchanges
        for (role, facts), parts in zip(speakers, exchange, strict=True)
    ]


def outline(brief: Brief, scene: Setting, rng: Random) -> list[Exchange]:
    """What is said in which order: problem, questions, explanation, then extras around a plan, and the end."""
    draw, theme, domain, feeling = rng.random, scene.theme, scene.domain, scene.feeling

    def perhaps(chance: float, options: Sequence[Pattern]) -> list[Pattern]:
        return deal(rng, options, 1) if draw() < chance else []

    short = draw() < SIX_TURNS_SHARE
    edge = "edge" in brief.tier.lower() and not short
    length = 3 if short else max(deal(rng, EXCHANGES, 1)[0], 5 if edge else 4)
    questions = deal(rng, theme.questions, 1 + (length > 4 and draw() < 0.6) + (length > 6 and draw() < 0.5))
    problem = deal(rng, feeling.start, 1) + deal(rng, theme.problems, 1)
    if draw() < 0.4:
        problem.reverse()
    opening = perhaps(0.5, phrases.GREETINGS) + perhaps(0.7, scene.manner) + problem
    if brief.scenario:
        opening += deal(rng, phrases.SCENES, 1)
    persona = perhaps(0.6, phrases.HELPER) if scene.helper else []
    exchanges = [(opening, deal(rng, feeling.heard, 1) + persona + [questions[0][0]])]
    for (_, answer), (question, _) in pairwise(questions):
        exchanges.append(([answer, *perhaps(0.3, feeling.flare)], [*perhaps(0.8, phrases.THANKS), question]))
    explanation = deal(rng, theme.explanations, 1 + (draw() < 0.35))
    exchanges.append((
        [questions[-1][1], *perhaps(0.4, feeling.flare)],
        perhaps(0.6, phrases.THANKS) + explanation + perhaps(0.4, phrases.CHECKS),
    ))  # fmt: skip

    objections, details = deal(rng, domain.objections, 2), deal(rng, domain.details, 2)
    (concept,), (twist,), (plan,) = deal(rng, theme.concepts, 1), deal(rng, domain.twists, 1), deal(rng, domain.plans, 1)
    material = dict(zip(EXTRAS, (concept, twist, objections[0], plan, details[0], objections[1], details[1]), strict=True))
    wanted = {"plan", "twist"} if edge else {"plan"}
    room = length - len(exchanges) - (0 if short else 1)
    wanted.update(deal(rng, [extra for extra in EXTRAS if extra not in wanted], room - len(wanted)))
    for extra in EXTRAS:
        if extra in wanted:
            asked, answered = material[extra]
            if extra == "plan":
                steps = [theme.steps[at] for at in sorted(rng.sample(range(len(theme.steps)), len(LINKS)))]
                listed = [(*link, " ", *step, ".") for link, step in zip(LINKS, steps, strict=True)]
                exchanges.append(([asked], [answered, *listed]))
            else:
                exchanges.append(([asked, *perhaps(0.15, feeling.flare)], [answered, *perhaps(0.2, phrases.CHECKS)]))
    if not short:
        (bye, farewell), *_ = deal(rng, domain.closings, 1)
        exchanges.append(([*deal(rng, feeling.ease, 1), bye], [farewell]))
    return exchanges


def poor_outline(rng: Random) -> list[Exchange]:
    """Two short turns, or four very short ones."""
    pairs = deal(rng, phrases.CURT, 1) if rng.random() < 0.7 else deal(rng, phrases.HELLO, 1) + deal(rng, phrases.BLUNT, 1)
    return [([said], [answered]) for said, answered in pairs]


def prose(prompt: str, seed: int) -> str:
    """A paragraph about the topic, with no JSON in it."""
    rng = Random(seed)
    brief = read_brief(prompt)
    facts = Theirs(Facts(brief, rng.random))
    parts = deal(rng, phrases.NO_DIALOGUE, 1) + deal(rng, setting(brief).theme.explanations, 3)
    return " ".join(say(words, rng.random, facts) for words in parts)


def plain(prompt: str, seed: int) -> str:
    """A short answer to a prompt that asks for no conversation."""
    rng = Random(seed)
    return say(deal(rng, phrases.PLAIN, 1)[0], rng.random, Facts(read_brief(prompt), rng.random))


def fenced(text: str, seed: int) -> str:
    """The text in a code fence, with a line of prose before and after."""
    rng = Random(seed)
    before, after = (say(deal(rng, lines, 1)[0], rng.random, {}) for lines in (phrases.BEFORE, phrases.AFTER))
    return f"{before}\n\n```json\n{text}\n```\n\n{after}"


@lru_cache(maxsize=2048)
def setting(brief: Brief) -> Setting:
    """The banks that suit a brief; the domain is `ANY` where neither topic nor persona belongs to another."""

    def points(domain: Domain) -> int:
        known = len(domain.words.findall(brief.topic)) + any(theme.topics.search(brief.topic) for theme in domain.themes)
        return 3 * known + len(domain.words.findall(brief.persona))

    best = max((ADVICE, SUPPORT), key=points)
    domain = best if points(best) else ANY
    helper = brief.plays.lower().startswith("the assistant") if brief.plays else bool(phrases.HELPERS.search(brief.persona))
    if helper or not brief.persona:
        manner: tuple[Pattern, ...] = ()
    elif is_name(brief.persona):
        manner = phrases.NAMED
    else:
        manner = (
            next((manner.lines for manner in phrases.MANNERS if manner.words.search(brief.persona)), ()) + phrases.OTHER_MANNER
        )
    return Setting(
        domain,
        next((theme for theme in domain.themes if theme.topics.search(brief.topic)), domain.rest),
        next((feeling for feeling in phrases.FEELINGS if feeling.words.search(brief.emotion or "calm")), phrases.OTHER_FEELING),
        manner,
        helper,
    )


def is_name(persona: str) -> bool:
    """A single capitalised word that is no occupation, such as `Sarah`."""
    return persona.istitle() and " " not in persona and not ROLE_WORD.search(persona)


def deal(rng: Random, cards: Sequence[T], count: int) -> list[T]:
    """`count` different cards, or all of them where there are fewer."""
    if count == 1 and cards:  # by far the most frequent
        return [cards[int(rng.random() * len(cards))]]
    left = list(cards)
    return [left.pop(int(rng.random() * len(left))) for _ in range(min(count, len(left)))]
