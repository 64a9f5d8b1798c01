"""The books, read: every figure against a plain count of the same rows, on both databases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, insert

from convoforge.ledger import Ledger
from convoforge.ledger.costs import cost_summary
from convoforge.ledger.draws import enrol, read_draws
from convoforge.ledger.runs import dataset_id
from convoforge.ledger.tables import answers, datasets, generation_logs, requests, reviews
from convoforge.plan import Cell

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
def books(ledger: Ledger, dataset: int) -> Ledger:
    calls = past()
    ledger.write(lambda c: c.execute(datasets.update().values(min_score=6)) and None)
    made = [(Cell(f"{n:032x}", "p", "e", "t", "template", "advice"), 0) for n in range(60)]
    ledger.write(enrol, dataset, made)
    ids = sorted(draw.request_id for draw in ledger.read(read_draws, dataset))

    def write(connection: Connection) -> None:
        number = -1
        for call in calls:
            number += call.attempt == 1
            request = ids[number]
            row = {
                "request_id": request,
                "attempt": call.attempt,
                "run_id": call.run,
                "dataset_id": dataset,
                "owner": "o",
                "provider": "anthropic",
                "model": "claude-sonnet-5-5",
                "template": call.template,
                "status": call.status,
                "billing": call.billing,
                "started_at": call.at,
                "latency_ms": call.ms,
                "input_tokens": 3 if call.pico else 0,
                "output_tokens": 5 if call.pico else 0,
                "cost_pico": call.pico,
            }
            connection.execute(insert(generation_logs), row)
            if call.score is not None:
                connection.execute(
                    insert(answers),
                    {
                        "request_id": request,
                        "attempt": call.attempt,
                        "conversation_id": f"c{request}",
                        "sent": "s",
                        "kind": "ok",
                        "template_version": "1",
                        "temperature_applied": False,
                        "generated_at": call.at,
                        "score": call.score,
                        "content_hash": call.text,
                    },
                )
                connection.execute(requests.update().where(requests.c.id == request).values(state="held", answer=call.attempt))

    ledger.write(write)
    return ledger


def rank(values: Sequence[int], percent: int) -> int:
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def accepted(calls: Sequence[Call]) -> int:
    return len({call.text for call in calls if call.score is not None and call.score >= 6})


@pytest.mark.parametrize("by", [None, "run", "template", "day", "model", "dataset"])
def test_every_figure_is_what_a_plain_count_gives(books: Ledger, by: str | None) -> None:
    summary = books.read(cost_summary, by=by)
    names = {
        "run": lambda call: call.run,
        "template": lambda call: call.template,
        "day": lambda call: f"{call.at:%Y-%m-%d}",
        "model": lambda _call: "claude-sonnet-5-5",
        "dataset": lambda _call: "advice",
    }
    groups = {"": past()} if by is None else {}
    for call in past() if by else ():
        groups.setdefault(names[by](call), []).append(call)
    found = {"": summary} if by is None else summary.groups
    assert found is not None
    assert set(found) == set(groups)
    for name, calls in groups.items():
        got, good = found[name], [call for call in calls if call.status == "succeeded"]
        total = Decimal(sum(call.pico for call in calls)) / 10**12
        assert (got.attempts, got.succeeded, got.failed) == (len(calls), len(good), len(calls) - len(good))
        assert got.retries == sum(call.attempt > 1 for call in calls)
        assert got.maybe_billed == sum(call.billing == "maybe" for call in calls)
        assert (got.conversations, got.accepted) == (len(good), accepted(calls))
        assert (got.input_tokens, got.output_tokens) == (3 * len(good), 5 * len(good))
        assert got.total_cost_usd == total
        assert got.cost_per_request_usd == total / len(calls)
        assert got.cost_per_accepted_usd == (total / accepted(calls) if accepted(calls) else None)
        times = [call.ms for call in good]
        assert (got.latency_ms.p50, got.latency_ms.p95, got.latency_ms.p99) == tuple(rank(times, p) for p in (50, 95, 99))
        assert got.latency_ms.mean == pytest.approx(sum(times) / len(times), abs=0.06)


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(books: Ledger) -> None:
    start, end = DAY + timedelta(hours=1), DAY + timedelta(hours=5)
    assert books.read(cost_summary, start, end).attempts == 4


def test_an_empty_period_costs_nothing_and_divides_by_nothing(books: Ledger) -> None:
    summary = books.read(cost_summary, DAY - timedelta(days=9), DAY - timedelta(days=8), by="day")
    assert summary.as_json() == {
        **dict.fromkeys(("attempts", "succeeded", "failed", "retries", "maybe_billed", "conversations", "accepted"), 0),
        **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 0),
        "total_cost_usd": "0",
        **dict.fromkeys(("cost_per_request_usd", "cost_per_accepted_usd", "success_rate")),
        "latency_ms": dict.fromkeys(("mean", "p50", "p95", "p99")),
        "groups": {},
    }


def test_simulated_spending_is_no_part_of_real_spending(books: Ledger) -> None:
    books.write(dataset_id, "advice", "simulator", DAY)
    assert books.read(cost_summary, provider="simulator").attempts == 0


def test_the_last_review_decides_what_is_accepted(books: Ledger) -> None:
    before = books.read(cost_summary).accepted

    def review(connection: Connection, request: int, decision: str) -> None:
        connection.execute(insert(reviews), {"request_id": request, "attempt": 1, "decision": decision, "at": DAY})

    low = books.read(lambda c: c.execute(answers.select().where(answers.c.score == 3)).first())
    assert low is not None
    books.write(review, low.request_id, "accept")
    assert books.read(cost_summary).accepted == before + 1
    books.write(review, low.request_id, "reject")
    assert books.read(cost_summary).accepted == before
