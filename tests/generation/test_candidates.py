"""Several conversations in one answer: how they are asked for, read and chosen from, and that one of them is paid for and kept."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.candidates import ask_for_candidates, count_candidates, parse_candidates
from convoforge.dataset.estimate import count_missing, estimate
from convoforge.dataset.status import assess_draws
from convoforge.errors import GenerationValidationError, ParseError
from convoforge.generation.pilot import run_pilot
from convoforge.generation.recording import _choose
from convoforge.ledger import Ledger
from convoforge.ledger.history import read_history
from convoforge.models import Conversation, Quality, ScorerResult
from convoforge.planning.model_facts import snapshot_facts
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import change_spec, load_spec
from convoforge.planning.templates import Library
from convoforge.scoring import Scored
from convoforge.settings import ROOT, Settings
from convoforge.simulator.client import SimulatorControl


def talk(*said: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": one} for at, one in enumerate(said)]


def answer(*some: tuple[float | None, list[dict[str, str]]]) -> str:
    return json.dumps({"candidates": [{"likelihood": likelihood, "turns": turns} for likelihood, turns in some]})


def first_turns(text: str) -> list[tuple[str, float]]:
    return [(one.conversation.turns[0].content, one.likelihood) for one in parse_candidates(text)]


WHOLE = answer((0.5, talk("One?", "Yes.")), (0.1, talk("Other?", "No.", "Why?", "So.")))


def test_conversations_are_read_with_their_likelihoods_and_those_that_break_the_rules_are_left_out() -> None:
    assert first_turns(WHOLE) == [("One?", 0.5), ("Other?", 0.1)]
    assert first_turns(f"Here they are:\n```json\n{WHOLE}\n```") == first_turns(WHOLE)
    assert first_turns(WHOLE[:-40]) == [("One?", 1.0)], "the last one was cut off"
    assert first_turns(answer((7, talk("One?", "Yes.")), (0.2, talk("Alone?")))) == [("One?", 1.0)]
    assert first_turns(json.dumps({"turns": talk("One?", "Yes.")})) == [("One?", 1.0)], "a model that writes one after all"
    with pytest.raises(GenerationValidationError):
        parse_candidates(answer((0.5, talk("Alone?"))))
    with pytest.raises(ParseError):
        parse_candidates("I would rather not.")


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda some: st.lists(some)).map(json.dumps)
)
def test_no_text_is_too_odd(text: str) -> None:
    for odd in (text, f'{{"candidates": {text}}}'):
        try:
            assert parse_candidates(odd)
        except (ParseError, GenerationValidationError):
            continue


@pytest.mark.parametrize("structured", [True, False])
def test_a_prompt_says_how_many(structured: bool) -> None:
    asked = ask_for_candidates(4, structured=structured)
    assert (count_candidates(f"Topic: bonds.\n\n{asked}"), count_candidates("Write 3 letters.")) == (4, 1)
    assert ('{"candidates": [' in asked) is not structured


def choose(*some: tuple[str, int, float], known: str = "") -> int:
    """The index that is chosen of conversations with a first turn, a score and a likelihood; those with an x are dropped by a filter."""
    scores = {f"{said}?": score for said, score, _ in some}

    def score(conversation: Conversation) -> Scored:
        said = conversation.turns[0].content
        dropped = (ScorerResult("f", 1, None, None, "drop", "x"),) if "x" in said else ()
        return Scored("", Quality(scores[said], dropped))

    found = parse_candidates(answer(*((likelihood, talk(f"{said}?", "Yes.")) for said, _, likelihood in some)))
    return _choose(found, score, lambda one: one.turns[0].content == f"{known}?")[0]


def test_what_no_filter_rejects_is_chosen_then_what_is_new_then_the_score_then_what_is_seldom_written() -> None:
    assert choose(("a", 8, 0.6), ("b", 8, 0.1), ("c", 8, 0.3)) == 1
    assert choose(("a", 8, 0.6), ("b", 9, 0.7)) == 1
    assert choose(("ax", 10, 0.1), ("b", 4, 0.7)) == 1
    assert choose(("a", 9, 0.1), ("b", 8, 0.7), known="a") == 1
    assert choose(("ax", 9, 0.1), ("bx", 9, 0.1)) == 0


def plan_of(**generation: Any) -> Plan:
    limits = {"max_requests": 100_000, "concurrency": 50}
    spec = change_spec(load_spec("financial-advice", ROOT / "configs"), limits=limits, generation=generation)
    return make_plan(spec, Library.at(ROOT / "configs"), "simulator", snapshot_facts(spec.model))


@pytest.mark.parametrize("structured", [True, False])
def test_one_of_several_is_kept_paid_for_once_and_estimated_before(
    simulator: SimulatorControl, tmp_path: Path, structured: bool
) -> None:
    settings = Settings(base_url=simulator.url, data_dir=tmp_path, config_dir=ROOT / "configs")
    plan = plan_of(candidates=3, max_tokens=12_000, structured=structured)
    one, three = (
        estimate(some, count_missing(some, nothing := assess_draws(some, [])), nothing, {}, refills=False).online
        for some in (plan_of(max_tokens=12_000, structured=structured), plan)
    )
    assert 2.4 < three.expected / one.expected < 3.2
    assert any("of which one is kept, and costs 3 times the output" in note for note in plan.notes)
    pilot = asyncio.run(run_pilot(plan, settings, 8))
    assert (pilot.sent, pilot.generated, simulator.usage()["requests"]) == (8, 8, 8)
    with Ledger(settings.database_url) as opened:
        past, other = (opened.read(read_history, "simulator", plan.spec.model, plan.spec.templates, candidates=n) for n in (3, 2))
    after = estimate(plan, count_missing(plan, nothing), nothing, past, refills=False).online
    assert float(pilot.cost_usd) / 8 == pytest.approx(float(after.expected) / plan.planned, rel=0.25)
    assert other == {}, "answers of another length"
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        kept = ledger.execute("SELECT kind, drawn, turns FROM answers").fetchall()
    assert [kind for kind, *_ in kept] == ["ok"] * 8
    assert {json.loads(drawn)["chosen"][2:] for _, drawn, _ in kept} == {"of 3"}
    assert {json.loads(drawn)["likelihood"] for _, drawn, _ in kept} <= {0.5, 0.125, 0.056}
    assert min(json.loads(drawn)["likelihood"] for _, drawn, _ in kept) == 0.056


def test_only_where_it_is_set_a_request_is_another_one() -> None:
    plain, same, several = plan_of(), plan_of(candidates=1), plan_of(candidates=2)
    cell = plain.cells[0]
    assert plain.fingerprint(cell, 0) == same.fingerprint(cell, 0) != several.fingerprint(cell, 0)
    assert plain.prompt(cell, 0).schema is None
