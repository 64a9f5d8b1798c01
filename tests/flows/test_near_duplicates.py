"""Near-duplicates in real builds: the later one is dropped, its cell asked for again, and another dataset's are not repeated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from prefect.client.schemas.objects import State
from support import Project

from convoforge.dataset.acceptance import Neighbor, Neighbors, assess
from convoforge.flows.build_dataset import next_step
from convoforge.generation.recent_answers import RecentAnswers
from convoforge.models import Conversation, Turn
from convoforge.orchestration.build_run import BuildState
from convoforge.planning.draws import Draw
from convoforge.scoring.similarity import Signed, SimilarityIndex, sign
from convoforge.simulator.client import SimulatorControl

SAID = (
    "I put {} dollars aside last spring, and I cannot tell whether waiting is patience or fear of doing the wrong thing again.",
    "What would you lose in {} months if nothing happened at all? Write that number down first, and then we look at the rest of it.",
    "My sister says I should pay off the car before anything else, and my brother says the opposite, and both of them are sure.",
    "They answer different questions: one asks what costs you most each month, the other what you will miss at sixty.",
    "The loan costs me nine percent, which is more than any fund has ever paid me, so perhaps she has the better of it this time.",
    "Then the loan goes first, with {} dollars from the spring, and a small transfer to the fund keeps the habit alive meanwhile.",
    "That sounds almost too simple, but I suppose I have been hoping for a complicated answer so that I need not begin tonight.",
    "Simple is what gets done on a tired evening: log in, move the amount, and put a reminder for the same day of next month.",
)


def answer(*amounts: int, last: str = SAID[7]) -> dict[str, str]:
    """What the model is to answer; equal but for amounts and the last turn."""
    turns = [text.format(amounts[n % len(amounts)]) for n, text in enumerate((*SAID[:7], last))]
    listed = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    return {"kind": "ok", "text": json.dumps({"turns": listed})}


def count_copies(report: Any) -> int:
    """Rows of a version that say what `answer` says."""
    rows = pl.read_parquet(f"{report.path}/data/*.parquet").to_dicts()
    return sum("waiting is patience or fear" in str(row["messages"]) for row in rows)


@pytest.fixture
def build(
    run_build: Callable[..., State[Any]], building: Project, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setenv("CONVOFORGE_DATABASE_URL", database_url)

    def run(name: str, **changes: Any) -> Any:
        building.spec(name, **changes)
        data = run_build(spec=name, simulate=True).data
        return getattr(data, "result", data)

    return run


def test_a_near_duplicate_is_dropped_and_asked_for_again_and_a_named_dataset_is_not_repeated(
    build: Callable[..., Any], simulator: SimulatorControl
) -> None:
    simulator.script(
        answer(4500, 12), answer(800, 24), answer(90, 7, last="Let us talk about it again when the letter has come.")
    )
    first = build("first", quality={"min_score": 1})
    assert (first.accepted, first.dropped, first.generated) == (8, 2, 10)
    version = Path(str(first.path))
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["lineage"]["counts"]["near_duplicates"] == 2
    assert manifest["recipe"]["near_duplicates"]["threshold"] == 0.55
    assert "2 of them repeat another conversation nearly: alike to 0.55 or more." in (version / "README.md").read_text()
    [reason] = [one for one in manifest["reasons"] if one["what"] == "dropped"]
    assert (reason["reason"], reason["count"]) == ("nearly the same as a conversation of this version", 2)
    assert count_copies(first) == 1

    # what another dataset has published is not repeated where the spec names it
    simulator.script(answer(77, 3))
    axes = {
        "persona": ["New Parent", "Skeptical Engineer"],
        "emotion": ["Hope", "Regret"],
        "topic": ["index funds", "bonds"],
        "tier": ["template"],
    }
    second = build("second", axes=axes, quality={"min_score": 1, "near_duplicates": {"datasets": ["first"]}})
    assert (second.accepted, second.dropped, second.generated) == (8, 1, 9)

    # with the filter off the near-duplicates come back, for free, and the version is another one
    again = build("first", quality={"min_score": 1, "near_duplicates": False})
    assert (again.generated, again.accepted, again.version) == (0, 8, 2)
    assert count_copies(again) == 3


def write_turns(number: int) -> list[dict[str, str]]:
    """Ten turns of words that no other number has."""
    words = ("".join("abcdefghij"[int(digit)] for digit in f"{number + 1}{at:02}") for at in range(100))  # digits are masked
    return [{"role": ("user", "assistant")[at % 2], "content": " ".join(islice(words, 10))} for at in range(10)]


def resembles_both(one: list[dict[str, str]], other: list[dict[str, str]]) -> bool:
    """Whether a conversation of both is found to resemble each: at a similarity of a half not every one is."""
    said = [Conversation(tuple(Turn(**turn) for turn in turns)) for turns in (one, other, one + other)]
    index = SimilarityIndex([Signed(number, (1, 0, str(number)), made) for number, made in enumerate(sign(said))])
    return len([*index.pairs()]) == 2


@pytest.mark.long
def test_a_conversation_that_no_split_has_a_place_for_is_replaced_in_the_same_build(
    build: Callable[..., Any], simulator: SimulatorControl
) -> None:
    quality = {"min_score": 1, "filters": [], "near_duplicates": {"threshold": 0.9, "cluster": 0.4}}
    halves = {"splits": {"train": 0.5, "validation": 0.5}}
    topics = ["bonds", "index funds", "the mortgage", "taxes", "a first car", "insurance", "inheritance", "college"]
    axes = {"persona": ["New Parent"], "emotion": ["Hope"], "topic": topics[:7], "tier": ["template"]}
    simulator.script(*({"kind": "ok", "text": json.dumps({"turns": write_turns(number)})} for number in range(7)))
    first = build("placed", axes=axes, quality=quality, publish=halves)
    splits = [pl.read_parquet(f"{first.path}/data/{name}-*.parquet")["messages"].to_list() for name in ("train", "validation")]
    both = next(one[1:] + other[1:] for one in splits[0] for other in splits[1] if resembles_both(one[1:], other[1:]))
    simulator.script({"kind": "ok", "text": json.dumps({"turns": both})})
    second = build("placed", axes={**axes, "topic": topics}, quality=quality, publish=halves)
    assert (second.state, second.accepted, second.generated, second.dropped) == ("completed", 8, 2, 1)
    rows = pl.read_parquet(f"{second.path}/data/*.parquet")
    assert (len(rows), rows.filter(pl.col("topic") == "college")["draw"].to_list()) == (8, [2])


@pytest.mark.long
def test_a_run_that_brings_hardly_anything_but_near_duplicates_stops_after_its_first_round(
    building: Project, simulator: SimulatorControl
) -> None:
    building.environment["ANTHROPIC_BASE_URL"] = simulator.url
    topics = [f"retirement at {age}" for age in range(40, 55)]
    axes = {"persona": ["Anxious Investor", "New Parent"], "emotion": ["Fear", "Calm"], "topic": topics, "tier": ["template"]}
    building.spec("alike", axes=axes)
    simulator.script(*[answer(n, n + 5, last=f"{SAID[7]} {'Yes. ' * (n % 2)}") for n in range(200)])
    done = building.run("build", "alike", "--simulate", "--json")
    assert (done.code, done.last["state"], done.last["generated"], done.last["accepted"]) == (3, "partial", 60, 1)
    assert "hardly anything is accepted, 1 of the 60 answers of this run: 59 near-duplicates." in done.last["message"]


def test_a_run_whose_conversations_wait_for_a_judge_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(number: int, rejection: str | None) -> Draw:
        return Draw(number, f"{number}", 0, "held", kind="ok", score=8, content_hash=bytes([number]), rejection=rejection)

    draws = [held(1, None), held(2, None), *(held(number, "unjudged") for number in range(3, 70))]
    near = Neighbors({2: [Neighbor(1, 0.7)], 1: [Neighbor(2, 0.7)]})
    status = assess([draw.cell for draw in draws], draws, min_score=6, per_cell=1, max_draws=3, near=near)
    monkeypatch.setattr("convoforge.flows.build_dataset.read_status", lambda *_, **__: status)
    state = BuildState(recent=RecentAnswers(""))
    opened: Any = SimpleNamespace(
        state=state, generated=67, cells={}, judging=None, joined=(), ledger=None, plan=None, dataset_id=1
    )
    step = asyncio.run(next_step(opened, None, (), held=1))
    assert (len(step.to_judge), state.stopped) == (67, None)
