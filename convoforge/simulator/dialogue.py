"""Composes conversations as a model might write them from `dialogue.yaml`. The same prompt and seed always give the same one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from random import Random
from typing import Any

import yaml

from convoforge.simulator.prompt_fields import PromptFields, lower_label, read_prompt_fields

WEAK_SHARE = 0.08
SHORT_SHARE = 0.2
SHORT_EXCHANGES = (2, 2, 3)
EXCHANGES = (5, 5, 5, 6, 6, 6, 7, 7)
"""Lengths of a normal conversation, in pairs of turns. A short one has two or three pairs, which the rubric gives 8 or 9, so that a
threshold and the histogram of scores have something to tell; a weak one has one pair."""

ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
SENTENCE_START = re.compile(r"(?:^|[.?!] )[a-z]")
CLAUSE = re.compile(r"\b(?:is|are|has|have|does|goes|keeps|stops|fails|reports|makes|not|cannot)\b")
OCCUPATION = re.compile(r"(?:er|or|ist|ee|ent|ant|man|woman|ian|ive|ic|al|ple)$", re.IGNORECASE)
LINKS = ("First,", "[Second|Then|After that],", "[Finally|Last|Third],")

TurnDict = dict[str, str]
Lines = Sequence[str]
Bank = Mapping[str, Any]
Exchange = tuple[list[str], list[str]]


def write_conversation(prompt: str, seed: int, *, weak: bool = False) -> list[TurnDict]:
    """Write turns with `role` and `content` on the prompt's topic, the first by the user and the last by the assistant.

    8% are weak: they score below 6 in the rubric. `weak` forces this.
    """
    rng, fields = Random(seed), read_prompt_fields(prompt)
    weak = rng.random() < WEAK_SHARE or weak
    facts = Facts(fields, rng)
    exchanges = [_draw_pair(read_bank()["weak"], rng)] if weak else list(_outline(fields, rng))
    turns = ((role, lines) for exchange in exchanges for role, lines in zip(("user", "assistant"), exchange, strict=True))
    return [{"role": role, "content": " ".join(say(line, rng, facts) for line in lines)} for role, lines in turns]


def write_prose(prompt: str, seed: int) -> str:
    """Write a paragraph about the topic, without JSON."""
    lines = choose_domain(read_prompt_fields(prompt))["explanations"]
    return " ".join(_write_lines(prompt, seed, read_bank()["prose"], *(lines[number::3] for number in range(3))))


def write_plain(prompt: str, seed: int) -> str:
    """Write a short answer to a prompt that asks for no conversation."""
    return _write_lines(prompt, seed, read_bank()["plain"])[0]


def add_fence(text: str, prompt: str, seed: int) -> str:
    """Put the text into a code fence, with a line of prose before and after it."""
    before, after = _write_lines(prompt, seed, read_bank()["before"], read_bank()["after"])
    return f"{before}\n\n```json\n{text}\n```\n\n{after}"


def _write_lines(prompt: str, seed: int, *options: Lines) -> list[str]:
    rng = Random(seed)
    facts = Facts(read_prompt_fields(prompt), rng)
    return [say(rng.choice(lines), rng, facts) for lines in options]


def choose_domain(fields: PromptFields) -> Bank:
    """Choose the lines that suit topic and persona: the theme's lines, then the domain's."""

    def count_words(domain: Bank) -> int:
        return 3 * len(domain["words"].findall(fields.topic)) + len(domain["words"].findall(fields.persona))

    *known, rest = read_bank()["domains"]
    best = max(known, key=count_words)
    domain = best if count_words(best) else rest
    theme: Bank = next((theme for theme in domain.get("themes", ()) if theme["words"].search(fields.topic)), {})
    return {**domain, **{name: theme[name] * 2 + domain[name] for name in ("problems", "explanations") if theme}}


def plays_assistant(fields: PromptFields) -> bool:
    """Whether the persona is the assistant: the prompt says so, or the persona gives advice or support."""
    if fields.plays:
        return fields.plays.lower().startswith("the assistant")
    return bool(
        re.search(r"\b(?:advis[eo]r|agent|assistant|planner|fiduciary|coach|support|desk)", fields.persona, re.IGNORECASE)
    )


def say(line: str, rng: Random, facts: Mapping[str, str]) -> str:
    """Fill in a line: choose among its alternatives, insert the facts, and capitalize sentences."""
    text = ALTERNATIVES.sub(lambda found: rng.choice(found[1].split("|")), line).format_map(facts)
    return SENTENCE_START.sub(lambda found: found[0].upper(), text)


class Facts(dict[str, str]):
    """The facts that stay the same in one conversation. A fact that the prompt does not give is drawn when it is first needed."""

    def __init__(self, fields: PromptFields, rng: Random) -> None:
        topic = re.sub("^my ", "the ", lower_label(fields.topic)) or "this"
        persona = lower_label(fields.persona) or "somebody new to this"
        article = "" if re.match("(?:an?|the|somebody) ", persona) else "an " if persona[0] in "aeiou" else "a "
        super().__init__(
            topic=f'the "{topic}" matter' if CLAUSE.search(topic) else topic,
            subject=topic if len(topic) < 24 else "this",
            persona=fields.persona,
            a_persona=article + persona,
            emotion=lower_label(fields.emotion),
            scenario=shorten(fields.scenario),
        )
        self._rng = rng

    def __missing__(self, name: str) -> str:
        self[name] = self._rng.choice(read_bank()["facts"][name])
        return self[name]


def shorten(scenario: str) -> str:
    """The headline of a scenario, in at most eight words: a user who repeats ten words of the brief is a fault that filters find."""
    return " ".join(re.split(r"[:;,]", scenario)[0].split()[:8])


def _outline(fields: PromptFields, rng: Random) -> Iterator[Exchange]:
    """Lines of a whole conversation: the problem, questions, an explanation, then extras around a plan, and a goodbye."""
    bank, domain = read_bank(), choose_domain(fields)
    feeling = _first_match(bank["feelings"], fields.emotion)

    def perhaps(chance: float, lines: Lines) -> list[str]:
        return [rng.choice(lines)] if lines and rng.random() < chance else []

    short = rng.random() < SHORT_SHARE
    edge = "edge" in fields.tier.lower() and not short
    length = rng.choice(SHORT_EXCHANGES if short else EXCHANGES)
    questions = [line.split(" => ") for line in rng.sample(domain["questions"], 1 + (length > 5))]
    opening = [*perhaps(0.5, bank["greetings"]), rng.choice(feeling["start"]), rng.choice(domain["problems"])]
    opening[-1:-1] = perhaps(0.8, _choose_manners(fields))
    opening += [rng.choice(bank["scenes"])] if fields.scenario else []
    helper = perhaps(0.7, bank["helpers"]) if plays_assistant(fields) else []
    yield opening, [rng.choice(feeling["heard"]), *helper, questions[0][0]]
    for (_, answer), (question, _) in pairwise(questions):
        yield [answer, *perhaps(0.3, feeling["flare"])], [*perhaps(0.7, bank["thanks"]), question]
    explanations = dict.fromkeys(rng.choice(domain["explanations"]) for _ in range(2))
    yield [questions[-1][1], *perhaps(0.4, feeling["flare"])], [*perhaps(0.6, bank["thanks"]), *explanations]

    if length == min(SHORT_EXCHANGES):
        return
    room = length - len(questions) - (2 if short else 3)
    extras = rng.sample(domain["extras"], room - edge)
    if edge:
        extras.insert(0, rng.choice(domain["twists"]))
    plan_at = (len(extras) + 1) // 2
    for extra in extras[:plan_at]:
        asked, answer = extra.split(" => ")
        yield [asked], [answer, *perhaps(0.25, bank["checks"])]
    asked, answer = rng.choice(bank["plans"]).split(" => ")
    steps = [f"{link} {step}." for link, step in zip(LINKS, rng.sample(domain["steps"], len(LINKS)), strict=True)]
    yield [asked], [answer, *steps]
    for extra in extras[plan_at:]:
        asked, answer = extra.split(" => ")
        yield [asked, *perhaps(0.2, feeling["flare"])], [answer]
    if not short:
        goodbye, farewell = rng.choice(domain["closings"]).split(" => ")
        yield [rng.choice(feeling["ease"]), goodbye], [farewell]


def _choose_manners(fields: PromptFields) -> Lines:
    """Lines in which a user persona introduces itself; a single word that is not an occupation is a name, such as `Sarah`."""
    if plays_assistant(fields) or not fields.persona:
        return ()
    if fields.persona.istitle() and " " not in fields.persona and not OCCUPATION.search(fields.persona):
        return tuple(read_bank()["names"])
    manners = read_bank()["manners"]
    return (*_first_match(manners, fields.persona)["lines"], *manners[-1]["lines"])


def _first_match(entries: Sequence[Bank], text: str) -> Bank:
    return next(entry for entry in entries if entry["words"].search(text))


def _draw_pair(lines: Lines, rng: Random) -> Exchange:
    user, assistant = rng.choice(lines).split(" => ")
    return [user], [assistant]


@cache
def read_bank() -> dict[str, Any]:
    """Read `dialogue.yaml`: blocks as lists of lines, words as patterns, and each fact with all its values."""
    bank = yaml.safe_load(files("convoforge.simulator").joinpath("dialogue.yaml").read_text())
    facts = {name: _list_values(fact) for name, fact in bank.pop("facts").items()}
    return {**_split_blocks(bank), "facts": facts}


def _list_values(fact: Any) -> list[str]:
    if isinstance(fact, str):
        return fact.split()
    low, high, step, form = fact
    return [form.format(value) for value in range(low, high + 1, step)]


def _split_blocks(part: Any, name: str = "") -> Any:
    match part:
        case dict():
            return {key: _split_blocks(value, key) for key, value in part.items()}
        case list():
            return [_split_blocks(value) for value in part]
        case str() if name == "words":
            return re.compile(rf"\b(?:{part})" if part else "", re.IGNORECASE)
    return part.splitlines()
