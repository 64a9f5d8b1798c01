"""A summary of costs: every figure against a plain count of the same rows, on both databases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ledger.made import CENT, NOW, answer, cell, completion, intent
from ledger.plain_costs import plain_costs, read_rows
from sqlalchemy import Connection, insert
from support import quality

from convoforge.costs.period import GROUPS, GroupBy
from convoforge.costs.summary import cost_summary
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import AnswerRow, finish_attempts, start_attempts
from convoforge.ledger.owners import Owner
from convoforge.ledger.requests import read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.ledger.tables import answers, datasets, generation_logs, requests, reviews
from convoforge.models import Usage
from convoforge.planning.plan import Cell
from convoforge.scoring import Scored

DAY = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass(frozen=True)
class Call:
    """One call of the made-up past."""

    at: datetime
    run: str
    template: str
    status: str
    billing: str
    ms: int
    pico: int
    attempt: int = 1
    score: int | None = None
    text: str = ""


def past() -> list[Call]:
    calls = []
    for n in range(60):
        at = DAY + timedelta(hours=n)
        run, template = f"run{n % 2}", ("advice", "edge")[n % 3 == 0]
        if n % 10 == 0:
            calls.append(Call(at, run, template, "failed", "maybe" if n % 20 == 0 else "none", 50, 0))
        calls.append(
            Call(
                at, run, template, "succeeded", "billed", 100 + n * 7 % 41, 10**9 + n, 1 + (n % 10 == 0), n % 10, f"text {n // 2}"
            )
        )
    return calls


@pytest.fixture
def spent(ledger: Ledger, dataset: int) -> Ledger:
    calls = past()
    ledger.write(lambda c: c.execute(datasets.update().values(min_score=6)) and None)
    made = [(Cell(f"{n:032x}", "p", "e", "t", "template", "advice"), 0) for n in range(60)]
    ledger.write(register_draws, dataset, made)
    ids = sorted(draw.request_id for draw in ledger.read(read_draws, dataset))

    def write(connection: Connection) -> None:
        number = -1
        for call in calls:
            number += call.attempt == 1
            request = ids[number]
            purpose = "judge" if number % 15 == 7 else "conversation"
            row = {
                "request_id": request,
                "attempt": call.attempt,
                "run_id": call.run,
                "dataset_id": dataset,
                "owner": "o",
                "provider": "anthropic",
                "model": "claude-sonnet-5-5",
                "template": call.template,
                "purpose": purpose,
                "status": call.status,
                "billing": call.billing,
                "started_at": call.at,
                "latency_ms": call.ms,
                "input_tokens": 3 if call.pico else 0,
                "output_tokens": 5 if call.pico else 0,
                "cost_pico": call.pico,
                "price": "2/10/2.5/4/0.1",
                "maybe_pico": 7 if call.billing == "maybe" else 0,
            }
            connection.execute(insert(generation_logs), row)
            if call.score is not None:
                connection.execute(
                    insert(answers),
                    {
                        "request_id": request,
                        "attempt": call.attempt,
                        "conversation_id": f"c{request}",
                        "fingerprint": "5" * 64,
                        "kind": "ok" if purpose == "conversation" else "judged",
                        "template_version": "1",
                        "temperature_applied": False,
                        "generated_at": call.at,
                        "score": call.score if purpose == "conversation" else None,
                        "content_hash": call.text.encode().hex(),
                    },
                )
                held = {"state": "held", "answer": call.attempt, "purpose": purpose}
                connection.execute(requests.update().where(requests.c.id == request).values(held))

    ledger.write(write)
    return ledger


@pytest.mark.parametrize("by", [None, *GROUPS])
def test_every_figure_is_what_a_plain_count_gives(spent: Ledger, by: GroupBy | None) -> None:
    rows = spent.read(read_rows)
    assert len(rows.logs) == len(past())
    assert spent.read(cost_summary, by=by).as_json() == plain_costs(rows, None, None, by)


@pytest.mark.parametrize("minutes", [0, 1, 59, 60, 61, 60 * 24, 60 * 24 + 30])
def test_a_period_may_begin_and_end_at_any_moment(spent: Ledger, minutes: int) -> None:
    rows = spent.read(read_rows)
    for begin in (0, 30, 59.9999, 60, 90):
        since = DAY + timedelta(minutes=begin)
        until = since + timedelta(minutes=minutes, microseconds=1)
        for by in (None, "day"):
            assert spent.read(cost_summary, since, until, by=by).as_json() == plain_costs(rows, since, until, by)


def test_the_parts_of_a_period_add_up_to_it(spent: Ledger) -> None:
    cut = DAY + timedelta(hours=17, minutes=20, seconds=1)
    whole, first, second = (spent.read(cost_summary, *ends) for ends in ((None, None), (None, cut), (cut, None)))
    for name in (
        "attempts",
        "succeeded",
        "failed",
        "retries",
        "maybe_billed",
        "conversations",
        "accepted",
        "output_tokens",
        "total_cost_usd",
    ):
        assert getattr(whole, name) == getattr(first, name) + getattr(second, name)


def test_each_dollar_is_accepted_or_one_kind_of_waste(spent: Ledger) -> None:
    summary, rows = spent.read(cost_summary), spent.read(read_rows)
    first: dict[str, int] = {}
    for one in rows.answers:
        if (one["score"] or 0) >= 6:
            first.setdefault(one["content_hash"], one["log"]["cost_pico"])
    assert summary.judge.cost_usd > 0
    assert summary.total_cost_usd == summary.wasted_usd + summary.judge.cost_usd + Decimal(sum(first.values())) / 10**12


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(spent: Ledger) -> None:
    start, end = DAY + timedelta(hours=1), DAY + timedelta(hours=5)
    assert spent.read(cost_summary, start, end).attempts == 4


def test_an_empty_period_costs_nothing_and_divides_by_nothing(spent: Ledger) -> None:
    summary = spent.read(cost_summary, DAY - timedelta(days=9), DAY - timedelta(days=8), by="day")
    assert summary.as_json() == {
        **dict.fromkeys(("attempts", "succeeded", "failed", "retries", "maybe_billed", "conversations", "accepted"), 0),
        **dict.fromkeys(("input_tokens", "output_tokens", "thinking_tokens", "cache_read_tokens", "cache_write_tokens"), 0),
        "total_cost_usd": "0",
        **dict.fromkeys(("cost_per_request_usd", "cost_per_conversation_usd", "cost_per_accepted_usd", "success_rate")),
        "latency_ms": dict.fromkeys(("mean", "p50", "p95", "p99")),
        "waste": {
            "dropped": {"conversations": 0, "cost_usd": "0"},
            "superseded": {"conversations": 0, "cost_usd": "0"},
            "retried": {"attempts": 0, "cost_usd": "0"},
            "maybe_billed": {"attempts": 0, "at_most_usd": "0"},
        },
        "cache": {"hit_rate": None, "saved_usd": "0"},
        "batch": {"attempts": 0, "cost_usd": "0"},
        "judge": {"attempts": 0, "cost_usd": "0"},
        "groups": {},
    }


def test_simulated_spending_is_no_part_of_real_spending(spent: Ledger) -> None:
    spent.write(ensure_dataset, "advice", "simulator", DAY)
    assert spent.read(cost_summary, provider="simulator").attempts == 0


def test_the_last_review_decides_what_is_accepted(spent: Ledger) -> None:
    before = spent.read(cost_summary).accepted

    def review(connection: Connection, request: int, decision: str) -> None:
        connection.execute(insert(reviews), {"request_id": request, "attempt": 1, "decision": decision, "at": DAY})

    low = spent.read(lambda c: c.execute(answers.select().where(answers.c.score == 3)).first())
    assert low is not None
    spent.write(review, low.request_id, "accept")
    assert spent.read(cost_summary).accepted == before + 1
    spent.write(review, low.request_id, "reject")
    assert spent.read(cost_summary).accepted == before


def said(score: int, text: str) -> AnswerRow:
    return replace(answer(), scored=Scored("turns=1", quality(score)), content_hash=text.encode().hex())


@pytest.fixture
def small(ledger: Ledger, dataset: int, owner: Owner) -> Ledger:
    """Seven attempts at five requests in two runs, with every kind of waste, as a build writes them."""
    ledger.write(lambda c: c.execute(datasets.update().values(min_score=6)) and None)
    ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(5)])
    ids = [draw.request_id for draw in ledger.read(read_draws, dataset)]
    nothing = {"status": "failed", "answer": None, "usage": Usage()}
    cached = Usage(100, 20, cache_read_tokens=900)
    for run, request, attempt, ended in (
        (
            "first",
            0,
            1,
            {"cost": 5, "answer": said(8, "one"), "usage": Usage(100, 20, cache_write_5m_tokens=1_000, thinking_tokens=7)},
        ),
        ("first", 1, 1, {"cost": 7, "answer": said(9, "one"), "usage": cached}),  # the same text again
        ("first", 2, 1, {"cost": 11, "answer": said(5, "two"), "usage": cached}),  # below the threshold
        ("first", 3, 1, {"cost": 13, **nothing, "error_kind": "wrong_provider"}),  # billed, and of no use
        ("first", 3, 2, {"cost": 0, **nothing, "billing": "maybe"}),
        ("second", 3, 3, {"cost": 17, "answer": said(7, "three"), "usage": cached}),  # resumed by another run
        ("second", 0, 2, {"cost": 19, "answer": said(10, "four"), "usage": cached}),  # a refresh of the first
    ):
        batch = "b" if (run, request) == ("second", 3) else None
        one = replace(intent(ids[request], dataset, owner, attempt=attempt), run_id=run, batch_id=batch)
        ledger.write(start_attempts, [one])
        ledger.write(finish_attempts, [completion(one, **ended)])
    ledger.write(start_attempts, [replace(intent(ids[4], dataset, owner), run_id="second")])  # under way
    return ledger


def pico(amount: int) -> Decimal:
    return Decimal(amount) / 10**12


def test_waste_is_told_apart_by_its_kind(small: Ledger) -> None:
    summary = small.read(cost_summary)
    waste = summary.waste
    assert summary.total_cost_usd == pico(5 + 7 + 11 + 13 + 17 + 19)
    assert (summary.conversations, summary.accepted) == (5, 3)  # "one" by its copy: what held it first was replaced
    assert (waste.superseded.conversations, waste.superseded.cost_usd) == (1, pico(5))
    assert (waste.dropped.conversations, waste.dropped.cost_usd) == (1, pico(11))
    assert (waste.retried.attempts, waste.retried.cost_usd) == (1, pico(13))
    assert (waste.maybe_billed.attempts, waste.maybe_billed.at_most_usd) == (2, pico(2 * CENT))
    assert summary.wasted_usd == pico(5 + 11 + 13)
    assert summary.cost_per_conversation_usd == pico(72) / 5
    assert summary.cost_per_accepted_usd == pico(72) / 3
    assert (summary.batch.attempts, summary.batch.cost_usd) == (1, pico(17))


def test_an_answer_that_a_refresh_replaced_is_superseded_whatever_it_says(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ledger.write(lambda c: c.execute(datasets.update().values(min_score=6)) and None)
    ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(2)])
    first, second = (draw.request_id for draw in ledger.read(read_draws, dataset))
    for request, attempt, score in ((first, 1, 9), (second, 1, 9), (first, 2, 2)):
        one = intent(request, dataset, owner, attempt=attempt)
        ledger.write(start_attempts, [one])
        ledger.write(finish_attempts, [completion(one, answer=said(score, f"text {request} {attempt}"))])
    summary = ledger.read(cost_summary)
    assert (summary.accepted, summary.waste.superseded.conversations, summary.waste.dropped.conversations) == (1, 1, 1)


def test_rows_belong_to_the_run_that_made_them(small: Ledger) -> None:
    groups = small.read(cost_summary, by="run").groups
    assert groups is not None
    first, second = groups["first"], groups["second"]
    assert (first.attempts, first.retries, first.total_cost_usd) == (5, 1, pico(5 + 7 + 11 + 13))
    assert (second.attempts, second.retries, second.total_cost_usd) == (3, 2, pico(17 + 19))
    assert (first.waste.superseded.conversations, second.waste.superseded.conversations) == (1, 0)
    assert (first.accepted, second.accepted) == (1, 2)


def test_a_cache_saves_what_reading_is_cheaper_less_what_writing_is_dearer(small: Ledger) -> None:
    cache = small.read(cost_summary).cache
    assert cache.hit_rate == 4 * 900 / (5 * 100 + 4 * 900 + 1_000)
    # $2 a million plain, $0.10 read, $2.50 written
    assert cache.saved_usd == (4 * 900 * Decimal("1.9") - 1_000 * Decimal("0.5")) / 10**6


def test_a_cache_that_is_never_read_costs(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ledger.write(register_draws, dataset, [(cell(0), 0)])
    (draw,) = ledger.read(read_draws, dataset)
    one = intent(draw.request_id, dataset, owner)
    ledger.write(start_attempts, [one])
    ledger.write(finish_attempts, [completion(one, usage=Usage(cache_write_1h_tokens=500))])
    assert ledger.read(cost_summary).cache.saved_usd == -500 * Decimal(2) / 10**6


def test_a_period_of_a_moment_holds_what_began_in_it(small: Ledger) -> None:
    assert small.read(cost_summary, NOW, NOW + timedelta(microseconds=1)).attempts == 8
    assert small.read(cost_summary, NOW + timedelta(microseconds=1)).attempts == 0


def test_another_threshold_changes_what_is_accepted_at_once(small: Ledger) -> None:
    for threshold, accepted in ((1, 4), (8, 2), (None, 0)):
        small.write(lambda c, threshold=threshold: c.execute(datasets.update().values(min_score=threshold)) and None)
        summary = small.read(cost_summary)
        assert summary.accepted == accepted
        assert summary.waste.dropped.conversations == 4 - accepted


def test_a_call_that_succeeded_without_an_answer_is_timed_all_the_same(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(2)])
    for draw in ledger.read(read_draws, dataset):
        one = intent(draw.request_id, dataset, owner)
        ledger.write(start_attempts, [one])
        done = completion(one, answer=answer() if draw.cell == cell(0).key else None)
        ledger.write(finish_attempts, [replace(done, latency_ms=1_000 if done.answer else 3_000)])
    latency = ledger.read(cost_summary).latency_ms
    assert (latency.mean, latency.p50, latency.p99) == (2_000, 1_000, 3_000)


def test_an_unknown_group_is_named(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="unknown group 'week'. Known: run, dataset, model, template, purpose, day"):
        ledger.read(lambda c: cost_summary(c, by="week"))  # type: ignore[arg-type]
