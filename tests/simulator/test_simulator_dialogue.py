"""Simulated conversations are about what was asked, differ from each other, and score as real ones would."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from random import Random
from statistics import mean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.scoring import score
from convoforge.simulator import phrases, talk
from convoforge.simulator.grammar import Pair, Pattern, names, pairs, pattern, patterns, say
from convoforge.simulator.phrases_advice import ADVICE
from convoforge.simulator.phrases_any import ANY
from convoforge.simulator.phrases_support import SUPPORT
from convoforge.simulator.prompt_fields import DRAWN, Brief, Facts, Theirs, read_brief, soft

CELLS = [
    ("Anxious Investor", "Fear", "market volatility", "template"),
    ("Confident Advisor", "Calm", "Retirement Planning", "edge_case"),
    ("Frustrated Customer", "Anger", "late delivery", "scenario"),
    ("Warm Front Desk", "Embarrassment", "locked account", "edge_case"),
    ("Retired Teacher", "Wonder", "learning Spanish", "template"),
]


def prompt(persona: str, emotion: str, topic: str, tier: str, variant: int = 0) -> str:
    return (
        f"Write a conversation as JSON.\nPersona: {persona}\nEmotion: {emotion}\nTopic: {topic}\nTier: {tier}\nVariant: {variant}"
    )


def conversations(cell: tuple[str, str, str, str], count: int) -> list[list[talk.TurnDict]]:
    return [talk.conversation(prompt(*cell, variant), variant) for variant in range(count)]


def judged(turns: list[talk.TurnDict]) -> int:
    return score(Conversation(tuple(Turn(turn["role"], turn["content"]) for turn in turns))).score  # type: ignore[arg-type]


def sentences(turns: list[talk.TurnDict]) -> set[str]:
    return {sentence for turn in turns for sentence in re.split(r"(?<=[.?!])\s+", turn["content"])}


@pytest.mark.parametrize("cell", CELLS)
def test_a_thousand_conversations_of_a_cell_all_differ_and_neighbours_share_few_sentences(
    cell: tuple[str, str, str, str],
) -> None:
    made = conversations(cell, 1000)
    assert len({str(turns) for turns in made}) == 1000
    spoken = [sentences(turns) for turns in made if len(turns) > 4]
    shares = [len(one & other) / min(len(one), len(other)) for one, other in pairwise(spoken)]
    assert mean(shares) < 0.08
    assert max(shares) < 0.4


@pytest.mark.parametrize("cell", CELLS)
def test_most_score_ten_and_about_eight_in_a_hundred_under_six(cell: tuple[str, str, str, str]) -> None:
    made = conversations(cell, 1000)
    scores = Counter(judged(turns) for turns in made)
    assert 50 <= sum(count for points, count in scores.items() if points < 6) <= 110
    assert scores[10] > 750
    whole = [turns for turns in made if judged(turns) >= 6]
    assert {len(turns) for turns in whole} | {8} == {6, 8, 10, 12, 14, 16}  # an edge case needs more than eight
    assert 120 < median(len(turn["content"]) for turns in whole for turn in turns) < 300
    assert max(len(turn["content"]) for turns in whole for turn in turns) < 900


@pytest.mark.parametrize("cell", CELLS)
def test_turns_alternate_and_read_as_text(cell: tuple[str, str, str, str]) -> None:
    for turns in conversations(cell, 300):
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        for turn in turns:
            text = turn["content"]
            assert text[0].isupper() or text[0] in "$\"'0123456789"
            assert text[-1] in ".?!,:" + '"'
            assert not re.search(r"  | [.,?!;:]|[\[\]{}|]|\.\.|,\.|\ba [aeio]\w+ (?:investor|teacher|customer)", text), text


@pytest.mark.parametrize("cell", CELLS)
def test_a_conversation_names_its_topic_and_its_emotion_shows(cell: tuple[str, str, str, str]) -> None:
    topic = soft(cell[2])
    for turns in conversations(cell, 200):
        if judged(turns) >= 6:
            assert topic in " ".join(turn["content"] for turn in turns)


def test_a_feeling_that_is_not_known_is_named() -> None:
    texts = [str(turns) for turns in conversations(("Gardener", "Schadenfreude", "roses", "template"), 50)]
    assert sum("schadenfreude" in text for text in texts) > 40


def test_an_edge_case_has_a_complication_in_it() -> None:
    said = {say_plain(asked) for asked, _ in ADVICE.twists}
    starts = tuple({text.split(" ")[0] for text in said})
    made = [turns for turns in conversations(CELLS[1], 100) if len(turns) > 6]
    assert all(any(turn["content"].startswith(starts) for turn in turns if turn["role"] == "user") for turns in made)


def test_a_scenario_is_told_by_the_user_unless_it_speaks_of_the_client() -> None:
    told = "Persona: Nurse\nTopic: savings\nScenario: market_downturn"
    turns = next(turns for seed in range(9) if len(turns := talk.conversation(told, seed)) > 4)
    assert "arket downturn" in turns[0]["content"]
    assert read_brief("Scenario: none; an ordinary day\nSituation: The client has put it off.").scenario == ""


@pytest.mark.parametrize(
    ("topic", "persona", "domain"),
    [
        ("market volatility", "Nurse", ADVICE),
        ("rebalancing", "New Parent", ADVICE),
        ("buying or renting a home", "First-Time Buyer", ADVICE),
        ("late delivery", "Nurse", SUPPORT),
        ("Wi-Fi set-up", "Hurried Parent", SUPPORT),
        ("double charge", "Loyal Customer", SUPPORT),
        ("learning Spanish", "Nurse", ANY),
        ("", "", ANY),
    ],
)
def test_topic_and_persona_decide_what_it_is_about(topic: str, persona: str, domain: phrases.Domain) -> None:
    assert talk.setting(Brief(persona=persona, topic=topic)).domain is domain


@pytest.mark.parametrize(
    ("line", "persona"),
    [
        ("Persona: Anxious Investor", "Anxious Investor"),
        ("- **Persona:** Anxious Investor", "Anxious Investor"),
        ("* **Persona**: Anxious Investor  ", "Anxious Investor"),
        ("persona: Anxious Investor (checks daily)", "Anxious Investor"),
        ("## PERSONA: Anxious Investor - 45, two children", "Anxious Investor"),
        ("1. Persona: `Anxious Investor`.", "Anxious Investor"),
        ("The persona is an anxious investor", ""),
    ],
)
def test_a_brief_is_read_however_its_lines_are_marked(line: str, persona: str) -> None:
    assert read_brief(f"Write this.\n{line}\nEmotion: Fear").persona == persona


@pytest.mark.parametrize(
    ("plays", "persona", "helper"),
    [
        ("", "Confident Advisor", True),
        ("", "Anxious Investor", False),
        ("the assistant, as support", "Night Owl", True),
        ("the user", "Advisor", False),
    ],
)
def test_a_persona_speaks_on_its_own_side(plays: str, persona: str, helper: bool) -> None:
    assert talk.setting(Brief(persona=persona, plays=plays, topic="savings")).helper is helper


@given(st.text(max_size=300), st.integers(0, 2**64))
def test_any_prompt_makes_a_conversation_and_always_the_same(text: str, seed: int) -> None:
    turns = talk.conversation(text, seed)
    assert turns == talk.conversation(text, seed)
    assert all(turn["content"].strip() for turn in turns)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.integers(0, 2**64))
def test_any_persona_emotion_and_topic_fit_the_phrases(persona: str, emotion: str, topic: str, seed: int) -> None:
    for turn in talk.conversation(f"Persona: {persona}\nEmotion: {emotion}\nTopic: {topic}", seed):
        assert turn["content"].strip()


def test_what_is_mine_to_the_user_is_yours_to_the_assistant() -> None:
    facts = Facts(Brief(topic="my mortgage"), Random(1).random)
    theirs = Theirs(facts)
    assert facts["partner"].startswith("my ")
    assert theirs["partner"] == facts["partner"].replace("my ", "your ")
    assert theirs["partner_cap"] == facts["partner_cap"].replace("My ", "Your ")
    assert theirs["topic"] == "your mortgage"
    assert theirs["amount"] == facts["amount"]


@pytest.mark.parametrize(
    ("label", "inside"),
    [
        ("Market Volatility", "market volatility"),
        ("Retirement planning", "retirement planning"),
        ("learning Spanish", "learning Spanish"),
        ("IRA Rollover", "IRA rollover"),
        ("market_downturn", "market downturn"),
        ("", ""),
    ],
)
def test_a_label_is_written_small_inside_a_sentence(label: str, inside: str) -> None:
    assert soft(label) == inside


def every_pattern() -> list[Pattern]:
    def flat(bank: tuple[Pair, ...]) -> list[Pattern]:
        return [side for pair in bank for side in pair]

    found: list[Pattern] = []
    for domain in (ADVICE, SUPPORT, ANY):
        for bank in (domain.objections, domain.details, domain.twists, domain.plans, domain.closings):
            found += flat(bank)
        for theme in (*domain.themes, domain.rest):
            found += [*theme.problems, *theme.explanations, *theme.steps, *flat(theme.questions), *flat(theme.concepts)]
    for feeling in (*phrases.FEELINGS, phrases.OTHER_FEELING):
        found += [*feeling.start, *feeling.flare, *feeling.ease, *feeling.heard]
    for manner in phrases.MANNERS:
        found += manner.lines
    for value in vars(phrases).values():
        if isinstance(value, tuple) and value and isinstance(value[0], tuple):
            found += flat(value) if type(value[0][0]) is tuple else list(value)
    return found


def test_every_fact_that_a_phrase_asks_for_exists() -> None:
    known = set(DRAWN) | set(Facts(Brief(), lambda: 0.0)) | {"source_cap", "partner_cap", "relative_cap"}
    asked = set().union(*map(names, every_pattern()))
    assert len(every_pattern()) > 700
    assert asked <= known


def test_every_alternative_of_every_phrase_reads_as_text() -> None:
    facts = Facts(Brief(persona="Nurse", emotion="Joy", topic="savings", scenario="rain"), Random(1).random)
    for words in every_pattern():
        for seed in range(30):
            text = say(words, Random(seed).random, facts)
            assert not re.search(r"  | [.,?!;:]|[\[\]{}|]|^\s|\s$", text), text


def test_all_poor_conversations_score_under_six() -> None:
    assert all(judged(talk.conversation("", seed, weak=True)) < 6 for seed in range(3000))


def test_alternatives_nest_and_may_be_empty_without_leaving_a_gap() -> None:
    words = pattern("I [really [do|did]|] mean {topic} [now|].")
    said = {say(words, Random(seed).random, {"topic": "it"}) for seed in range(100)}
    assert said == {f"I{really} mean it{now}." for really in (" really do", " really did", "") for now in (" now", "")}


@pytest.mark.parametrize("broken", ["a [b", "a b]", "a | b", "[a|b]]"])
def test_a_bracket_without_its_partner_is_an_error(broken: str) -> None:
    with pytest.raises(ValueError, match=r"\[|\]|\|"):
        pattern(broken)


def test_lists_are_read_over_line_ends() -> None:
    assert patterns("\n- one\n  more\n- two\n") == (("one more",), ("two",))
    assert pairs("- a => b\n- c\n  => d") == ((("a",), ("b",)), (("c",), ("d",)))


def say_plain(words: Pattern) -> str:
    return say(words, lambda: 0.0, Facts(Brief(), lambda: 0.0))
