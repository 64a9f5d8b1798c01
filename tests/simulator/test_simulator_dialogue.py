"""Simulated conversations are about what was asked, differ from each other, and score as real ones would."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.scoring import Rubric, ScoringContext
from convoforge.scoring.registry import find_scorers
from convoforge.simulator.dialogue import (
    ALTERNATIVES,
    Facts,
    TurnDict,
    choose_domain,
    plays_assistant,
    read_bank,
    say,
    write_conversation,
)
from convoforge.simulator.prompt_fields import PromptFields, lower_label, read_prompt_fields

RUBRIC = Rubric(find_scorers(("turns", "length", "structure")))

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


def conversations(cell: tuple[str, str, str, str], count: int) -> list[list[TurnDict]]:
    return [write_conversation(prompt(*cell, variant), variant) for variant in range(count)]


def judged(turns: list[TurnDict]) -> int:
    return RUBRIC.score(
        Conversation(tuple(Turn(turn["role"], turn["content"]) for turn in turns)), ScoringContext()
    ).quality.score  # type: ignore[arg-type]


def grams(turns: list[TurnDict]) -> set[tuple[str, ...]]:
    """Three words in a row, of all turns."""
    found = set()
    for turn in turns:
        words = re.findall(r"\w+", turn["content"].lower())
        found |= set(zip(words, words[1:], words[2:], strict=False))
    return found


def test_of_three_hundred_no_two_are_near_duplicates() -> None:
    prompts = [prompt(*cell, variant) for cell in CELLS for variant in range(60)]
    made = [grams(write_conversation(text, seed)) for seed, text in enumerate(prompts)]
    assert max(len(one & other) / len(one | other) for one, other in combinations(made, 2)) < 0.7


@pytest.mark.parametrize("cell", CELLS)
def test_most_score_ten_a_fifth_eight_or_nine_and_about_eight_in_a_hundred_under_six(cell: tuple[str, str, str, str]) -> None:
    made = conversations(cell, 500)
    scores = Counter(judged(turns) for turns in made)
    assert 20 <= sum(count for points, count in scores.items() if points < 6) <= 60
    assert scores[8] + scores[9] + scores[10] > 430
    assert scores[10] > 280
    assert scores[8] > 50 and scores[9] > 25  # so that a threshold and a histogram have something to tell
    whole = [turns for turns in made if judged(turns) >= 6]
    assert {len(turns) for turns in whole} == {4, 6, 10, 12, 14}
    assert 100 < median(len(turn["content"]) for turns in whole for turn in turns) < 300
    assert max(len(turn["content"]) for turns in whole for turn in turns) < 900


@pytest.mark.parametrize("cell", CELLS)
def test_turns_alternate_and_read_as_text(cell: tuple[str, str, str, str]) -> None:
    for turns in conversations(cell, 150):
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        for turn in turns:
            text = turn["content"]
            assert text[0].isupper() or text[0] in "$\"'0123456789"
            assert text[-1] in ".?!"
            assert not re.search(r"  | [.,?!;:]|[\[\]{}|]|\.\.|,\.|=>|\ba [aeio]\w+ (?:investor|teacher|customer)", text), text


@pytest.mark.parametrize("cell", CELLS)
def test_a_conversation_names_its_topic(cell: tuple[str, str, str, str]) -> None:
    for turns in conversations(cell, 200):
        if judged(turns) >= 6:
            assert lower_label(cell[2]) in " ".join(turn["content"] for turn in turns)


def test_another_topic_persona_or_emotion_is_another_conversation() -> None:
    usual = CELLS[0]
    for other in (("New Parent", *usual[1:]), (usual[0], "Hope", *usual[2:]), (*usual[:2], "paying off debt", usual[3])):
        same = [write_conversation(prompt(*usual), seed) == write_conversation(prompt(*other), seed) for seed in range(100)]
        assert sum(same) < 40  # by the text of the prompt alone: the hash of it, which is the seed, makes them all differ


def test_a_feeling_shows_and_one_that_is_not_known_is_named() -> None:
    def sentences(emotion: str) -> set[str]:
        made = conversations(("Gardener", emotion, "roses", "template"), 50)
        return {turns[0]["content"] for turns in made if len(turns) > 2}

    assert not sentences("Fear") & sentences("Hope")
    assert sum("schadenfreude" in text.lower() for text in sentences("Schadenfreude")) > 30


def test_an_edge_case_has_a_complication_in_it() -> None:
    twists = {
        line.split(" => ")[0].split("[")[0].split("{")[0][:12] for line in choose_domain(PromptFields(topic="bonds"))["twists"]
    }
    made = [turns for turns in conversations(CELLS[1], 100) if len(turns) > 6]
    assert all(any(turn["content"].startswith(tuple(twists)) for turn in turns) for turns in made)


def test_a_scenario_is_told_by_the_user_unless_it_speaks_of_the_client() -> None:
    asked = "Persona: Nurse\nTopic: savings\nScenario: market_downturn"
    turns = next(turns for seed in range(9) if len(turns := write_conversation(asked, seed)) > 4)
    assert "market downturn" in turns[0]["content"]
    assert read_prompt_fields("Scenario: The client has put it off.").scenario == ""
    assert read_prompt_fields("Scenario: none; an ordinary day").scenario == ""


@pytest.mark.parametrize(
    ("topic", "persona", "words"),
    [
        ("market volatility", "Nurse", "{amount}"),
        ("rebalancing", "New Parent", "{amount}"),
        ("buying or renting a home", "First-Time Buyer", "{amount}"),
        ("late delivery", "Nurse", "{order}"),
        ("Wi-Fi set-up", "Hurried Parent", "{order}"),
        ("double charge", "Loyal Customer", "{order}"),
        ("learning Spanish", "Nurse", "whatever I try"),
        ("", "", "whatever I try"),
    ],
)
def test_topic_and_persona_decide_what_it_is_about(topic: str, persona: str, words: str) -> None:
    problems = choose_domain(PromptFields(persona=persona, topic=topic))["problems"]
    assert any(words in line for line in problems)


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
def test_prompt_fields_are_read_however_their_lines_are_marked(line: str, persona: str) -> None:
    assert read_prompt_fields(f"Write this.\n{line}\nEmotion: Fear").persona == persona


@pytest.mark.parametrize(
    ("plays", "persona", "expected"),
    [
        ("", "Confident Advisor", True),
        ("", "Anxious Investor", False),
        ("the assistant, as support", "Night Owl", True),
        ("the user", "Advisor", False),
    ],
)
def test_a_persona_speaks_on_its_own_side(plays: str, persona: str, expected: bool) -> None:
    assert plays_assistant(PromptFields(persona=persona, plays=plays, topic="savings")) is expected


@given(st.text(max_size=300), st.integers(0, 2**64))
def test_any_prompt_makes_a_conversation_and_always_the_same(text: str, seed: int) -> None:
    turns = write_conversation(text, seed)
    assert turns == write_conversation(text, seed)
    assert all(turn["content"].strip() for turn in turns)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.integers(0, 2**64))
def test_any_persona_emotion_and_topic_fit_the_lines(persona: str, emotion: str, topic: str, seed: int) -> None:
    for turn in write_conversation(f"Persona: {persona}\nEmotion: {emotion}\nTopic: {topic}", seed):
        assert turn["content"].strip()


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
    assert lower_label(label) == inside


def every_line() -> list[str]:
    def walk(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        if isinstance(part, dict | list):
            return [line for one in (part.values() if isinstance(part, dict) else part) for line in walk(one)]
        return []

    return walk({name: part for name, part in read_bank().items() if name != "facts"})


def test_every_alternative_of_every_line_reads_as_text() -> None:
    facts = Facts(PromptFields(persona="Nurse", emotion="Joy", topic="savings", scenario="rain"), Random(1))
    for line in every_line():
        assert "[" not in ALTERNATIVES.sub("", line) and line.count(" => ") <= 1
        for seed in range(20):
            text = say(line, Random(seed), facts).replace(" => ", " ")
            assert not re.search(r"  | [.,?!;:]|[\[\]{}|]|=>|^\s|\s$", text), text


def test_all_weak_conversations_score_under_six() -> None:
    assert all(judged(write_conversation(prompt(*CELLS[2]), seed, weak=True)) < 6 for seed in range(1000))
