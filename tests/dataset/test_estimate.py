"""What a build will cost, before: from what templates ask for, then from what answers were like; and never far off what it did cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Project

from convoforge.dataset.acceptance import DatasetStatus, assess
from convoforge.dataset.estimate import Estimate, count_missing, estimate
from convoforge.dataset.expected_draws import target_tokens
from convoforge.errors import ConfigError
from convoforge.ledger.history import Made
from convoforge.models import Provider, Status
from convoforge.planning.config_files import check
from convoforge.planning.model_facts import snapshot_facts
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library, Target
from convoforge.settings import ROOT

LIBRARY = Library.at(ROOT / "configs")
MADE = Made(answers=400, prompt_tokens=2_000, output_tokens=1_000, spread=200, seconds=20)


def plan_of(provider: Provider = "anthropic", **changes: Any) -> Plan:
    spec = {
        "name": "estimated",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {
            "persona": ["A", "B"],
            "emotion": ["Fear", "Calm"],
            "topic": [f"t{n}" for n in range(25)],
            "tier": ["template"],
        },
        "generation": {"caching": False},
        **changes,
    }
    return make_plan(check(DatasetSpec, spec), LIBRARY, provider)


def nothing(plan: Plan) -> DatasetStatus:
    return assess([cell.key for cell in plan.cells], [], min_score=6, per_cell=1, max_draws=plan.spec.max_draws)


def judged(plan: Plan, accepted: int, others: int) -> DatasetStatus:
    return replace(nothing(plan), counts=Counter({Status.ACCEPTED: accepted, Status.NEEDS_REVISION: others}))


def of(plan: Plan, history: dict[str, Made] | None = None, status: DatasetStatus | None = None, **wishes: Any) -> Estimate:
    status = status or nothing(plan)
    return estimate(plan, count_missing(plan, nothing(plan)), status, history or {}, **wishes)


def test_without_a_past_it_goes_by_what_the_template_asks_for() -> None:
    seen = of(plan_of())
    low, middle, high = target_tokens(Target(), snapshot_facts("claude-haiku-4-5"))
    assert (round(low), round(middle), round(high)) == (309, 977, 1989)
    low, middle, high = target_tokens(Target(), snapshot_facts("claude-sonnet-5-5"))  # a tokenizer of a third more tokens
    assert (round(low), round(middle), round(high)) == (411, 1303, 2651)
    assert (seen.conversations, seen.requests) == (100, 100)
    prompt = seen.online.expected - 100 * round(middle) * Decimal(10) / 10**6  # $10 a million
    assert Decimal("0.2") < prompt < Decimal("0.6")  # 100 prompts of some 1,800 tokens at $2 a million
    assert seen.online.low < seen.online.expected < seen.online.high
    assert seen.basis == "what the templates ask for; no refills expected yet"


def test_with_a_past_it_goes_by_that_and_is_narrower() -> None:
    seen = of(plan_of(), {"advice": MADE}, status=judged(plan_of(), 400, 0))
    assert seen.online.expected == 100 * (2_000 * Decimal(2) + 1_000 * Decimal(10)) / 10**6
    before = of(plan_of()).online
    assert seen.online.high - seen.online.low < (before.high - before.low) / 10
    assert seen.basis == "400 answers so far; 400 of 400 answers accepted"


def test_what_the_api_has_counted_comes_before_letters_and_past() -> None:
    seen = of(plan_of(), {"advice": MADE}, status=judged(plan_of(), 400, 0), counted={"advice": 1_500.0})
    assert seen.online.expected == 100 * (1_500 * Decimal(2) + 1_000 * Decimal(10)) / 10**6
    assert "counted by the API" in seen.basis


def test_refills_are_expected_from_how_many_answers_were_accepted() -> None:
    plan = plan_of()
    half = of(plan, {"advice": MADE}, status=judged(plan, 199, 200))
    assert half.requests == 175  # of a half accepted and three draws at the most: 1 + 1/2 + 1/4
    assert of(plan, {"advice": MADE}, status=judged(plan, 199, 200), refills=False).requests == 100
    assert of(plan, {"advice": MADE}, status=judged(plan, 0, 50)).requests > 290
    assert of(plan, {"advice": MADE}, status=judged(plan, 50, 0)).requests == 100


def test_a_batch_is_half_and_stands_beside_and_counts_where_it_is_the_mode() -> None:
    seen = of(plan_of())
    assert seen.batch is not None
    assert seen.batch.expected * 2 == seen.online.expected
    assert seen.cost == seen.online
    assert of(plan_of(mode="batch")).cost == seen.batch
    assert of(plan_of(model="claude-opus-4-1")).batch is None
    with pytest.raises(ConfigError, match="no batch price"):
        plan_of(model="claude-opus-4-1", mode="batch")


def test_a_cache_makes_it_cheaper_but_not_at_worst() -> None:
    plain, kept = of(plan_of()), of(plan_of(generation={"caching": True}))
    assert kept.online.expected < plain.online.expected
    assert kept.online.high == plain.online.high
    assert kept.batch is not None and plain.batch is not None
    # in batches it hits by chance
    assert kept.batch.low < plain.batch.low and kept.batch.expected < plain.batch.expected
    single = plan_of(generation={"caching": True}, sample=1)
    assert of(single).online.expected == of(plan_of(sample=1)).online.expected  # nobody reads what one writes


@pytest.mark.parametrize(
    ("limits", "seconds", "by"),
    [
        ({"max_requests": 10, "concurrency": 1_000}, 100 / 9 * 60, "limits.max_requests"),
        ({"max_requests": 1_000, "concurrency": 4}, 100 * 20 / 4, "limits.concurrency"),
        ({"max_requests": 1_000, "concurrency": 1_000, "input_tokens": 40_000}, 200_000 / 36_000 * 60, "limits.input_tokens"),
        ({"max_requests": 1_000, "concurrency": 1_000, "output_tokens": 20_000}, 100_000 / 18_000 * 60, "limits.output_tokens"),
    ],
)
def test_the_time_is_that_of_the_tightest_limit(limits: dict[str, int], seconds: float, by: str) -> None:
    seen = of(plan_of(limits=limits), {"advice": MADE}, status=judged(plan_of(), 400, 0))
    assert (seen.seconds, seen.limited_by) == (pytest.approx(seconds, rel=0.01), by)


@given(
    accepted=st.integers(0, 500),
    others=st.integers(0, 500),
    made=st.none()
    | st.builds(Made, st.integers(1, 5000), st.floats(1, 1e5), st.floats(1, 2e4), st.floats(0, 1e4), st.floats(0, 600)),
    draws=st.integers(0, 100),
    caching=st.booleans(),
)
def test_low_is_never_above_expected_nor_that_above_high(
    accepted: int, others: int, made: Made | None, draws: int, caching: bool
) -> None:
    plan = plan_of(generation={"caching": caching})
    seen = estimate(plan, {"advice": draws} if draws else {}, judged(plan, accepted, others), {"advice": made} if made else {})
    for one in (seen.online, seen.batch):
        assert one is not None
        assert 0 <= one.low <= one.expected + Decimal("1e-9")
        assert one.expected <= one.high + Decimal("1e-9")
    assert draws <= seen.requests <= draws * plan.spec.max_draws


def test_counting_without_a_key_is_one_line(project: Project) -> None:
    project.spec("guessed")
    done = project.run("plan", "guessed", "--count")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "ANTHROPIC_API_KEY" in done.err
