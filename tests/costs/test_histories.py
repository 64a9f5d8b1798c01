"""Costs and budgets against a plain count of the rows, after whatever may happen to attempts, on both databases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger.made import CENT, NOW, answer, completion, intent
from ledger.plain_costs import plain_costs, read_rows
from sqlalchemy import Connection, delete, insert, select, update
from support import quality

from convoforge.costs.period import GROUPS
from convoforge.costs.summary import cost_summary
from convoforge.errors import LedgerError
from convoforge.ledger import Ledger
from convoforge.ledger.answers import write_scores
from convoforge.ledger.attempts import Completion, Intent, finish_attempts, start_attempts
from convoforge.ledger.budgets import list_budget_scopes, read_budgets
from convoforge.ledger.owners import Owner, release
from convoforge.ledger.requests import read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.ledger.tables import answers, budgets, datasets, generation_logs, metadata, requests, reviews
from convoforge.models import Usage
from convoforge.planning.plan import Cell
from convoforge.scoring import Scored

REQUESTS, OWNERS = 4, ("a" * 32, "b" * 32)
PRICES = ("2/10/2.5/4/0.1", "0.1/0.5/0.125/0.2/0.01>100000:0.5/2.5/0.625/1/0.05", "1.5/7.5/1.875/3/0.15")

few = st.integers(0, 3)
tokens = st.integers(0, 5) | st.just(150_000)
moments = st.builds(
    lambda hours, minutes, micro: NOW + timedelta(hours=hours, minutes=minutes, microseconds=micro),
    st.integers(0, 30),
    st.sampled_from((0, 0, 20, 59)),
    st.sampled_from((0, 0, 1, 999_999)),
)
begins = st.tuples(st.just("begin"), few, few, few, moments)
ends = st.tuples(
    st.just("end"),
    st.integers(0, 99),
    st.sampled_from(("ok", "ok", "ok", "parse_error", "billed", "maybe", "none", "other provider")),
    st.builds(Usage, tokens, tokens, tokens, tokens, tokens),
    st.integers(1, 10),
    st.integers(0, 9),
)
happenings = st.one_of(
    begins,
    begins,
    ends,
    ends,
    ends,
    st.tuples(st.just("release"), st.sampled_from(OWNERS)),
    st.tuples(st.just("review"), st.integers(0, 99), st.sampled_from(("accept", "reject"))),
    st.tuples(st.just("score"), st.integers(0, 99), st.integers(1, 10)),
    st.tuples(st.just("threshold"), st.none() | st.integers(1, 10)),
)
periods = st.tuples(st.none() | moments, st.none() | moments).filter(lambda ends: None in ends or ends[0] < ends[1])


@dataclass
class Story:
    """What happens to a few requests of two datasets, in a transaction."""

    connection: Connection
    requests: list[tuple[int, int]]
    begun: list[Intent] = field(default_factory=list)
    attempts: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def begin(self, which: int, how: int, owner: int, at: datetime) -> None:
        request, dataset = self.requests[which]
        self.attempts[request] += 1
        run = f"run{(which + how) % 2}"
        one = Intent(
            request_id=request,
            attempt=self.attempts[request],
            run_id=run,
            dataset_id=dataset,
            owner=OWNERS[owner % 2],
            provider="anthropic",
            model=f"model-{how % 2}",
            template=("advice", "edge")[which % 2],
            api_key="3f2a9c",
            price=PRICES[how % 3],
            started_at=at,
            reserve_pico=CENT + which,
            limits=dict.fromkeys(list_budget_scopes(run, dataset, at)),
            batch_id="batch" if how == 3 else None,
        )
        assert start_attempts(self.connection, [one]) == [None]
        self.begun.append(one)

    def end(self, which: int, how: str, usage: Usage, score: int, text: int) -> None:
        if not self.begun:
            return
        one = self.begun.pop(which % len(self.begun))  # it may have been taken for lost meanwhile
        told: dict[str, Any] = {"answer": None, "status": "failed", "usage": usage, "cost": 7 * usage.output_tokens + 3}
        match how:
            case "ok":
                good = replace(answer(), scored=Scored("turns=1", quality(score)), content_hash=f"{text:064}")
                told |= {"status": "succeeded", "answer": good}
            case "parse_error":
                told |= {"status": "succeeded", "answer": replace(answer(), kind=how, turns=None, raw_text="?", reason="?")}
            case "billed":
                pass
            case "other provider":
                told |= {"provider": "simulator"}
            case _:
                told |= {"billing": how, "usage": Usage(), "cost": 0, "request_state": "pending"}
        done = completion(one, **told)
        finish_attempts(self.connection, [replace(done, latency_ms=1_000 + which * 37)])

    def release(self, owner: str) -> None:
        release(self.connection, [owner], NOW)

    def review(self, which: int, decision: str) -> None:
        if found := self._answers():
            request, attempt = found[which % len(found)]
            row = {"request_id": request, "attempt": attempt, "decision": decision, "at": NOW}
            self.connection.execute(insert(reviews), row)

    def score(self, which: int, score: int) -> None:
        if found := self._answers("ok"):
            write_scores(self.connection, [(*found[which % len(found)], Scored("turns=2", quality(score)), f"{score:064}")])

    def threshold(self, score: int | None) -> None:
        self.connection.execute(update(datasets).values(min_score=score))

    def _answers(self, *kinds: str) -> list[tuple[int, int]]:
        query = select(answers.c.request_id, answers.c.attempt).order_by(answers.c.request_id, answers.c.attempt)
        query = query.where(answers.c.kind.in_(kinds)) if kinds else query
        return [(row.request_id, row.attempt) for row in self.connection.execute(query)]


def begin_story(connection: Connection) -> Story:
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))
    found = []
    for n in range(2):
        dataset = ensure_dataset(connection, f"dataset-{n}", "anthropic", NOW)
        cells = [(Cell(f"{n}{m:031x}", "p", "e", "t", "template", "advice"), 0) for m in range(2)]
        register_draws(connection, dataset, cells)
        found += [(draw.request_id, dataset) for draw in read_draws(connection, dataset)]
    connection.execute(update(datasets).values(min_score=5))
    return Story(connection, found)


@pytest.mark.server  # it takes seconds; the property of test_accepted.py is tried by `make check`
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(happenings, min_size=8, max_size=40), st.lists(periods, min_size=1, max_size=3))
def test_whatever_happens_budgets_and_costs_are_what_the_rows_say(
    ledger: Ledger, story: Sequence[tuple[Any, ...]], some: Sequence[tuple[datetime | None, datetime | None]]
) -> None:
    def live(connection: Connection) -> None:
        told = begin_story(connection)
        for what, *how in story:
            getattr(told, what)(*how)

    ledger.write(live)
    rows = ledger.read(read_rows)
    held = {row.id: row.answer for row in ledger.read(lambda c: c.execute(select(requests)).all())}
    for request in {one["request_id"] for one in rows.answers}:  # what `several` in costs.accepted relies on
        assert held[request] in [one["attempt"] for one in rows.answers if one["request_id"] == request]

    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for log in rows.logs:
        for scope in list_budget_scopes(log["run_id"], log["dataset_id"], log["started_at"]):
            for index, name in enumerate(("reserved_pico", "cost_pico", "maybe_pico")):
                sums[scope][index] += log[name]
    kept = ledger.read(lambda c: c.execute(select(budgets)).all())
    assert {row.scope: [row.reserved_pico, row.spent_pico, row.maybe_pico] for row in kept} == sums

    for provider in ("anthropic", "simulator"):
        for since, until in [(None, None), *some]:
            for by in (None, *GROUPS) if since is until else (None, "day"):
                summary = ledger.read(cost_summary, since, until, by=by, provider=provider)
                assert summary.as_json() == plain_costs(rows, since, until, by, provider)


def enrolled(ledger: Ledger, dataset: int) -> int:
    ledger.write(register_draws, dataset, [(Cell("0" * 32, "p", "e", "t", "template", "advice"), 0)])
    (draw,) = ledger.read(read_draws, dataset)
    return draw.request_id


def budget(ledger: Ledger) -> tuple[int, int, int]:
    budget = ledger.write(read_budgets, ["run:r"])["run:r"]
    return budget["reserved_pico"], budget["spent_pico"], budget["maybe_pico"]


def test_an_end_is_not_written_twice(ledger: Ledger, dataset: int, owner: Owner) -> None:
    one = intent(enrolled(ledger, dataset), dataset, owner)
    failed: Completion = completion(one, status="failed", answer=None)
    ledger.write(start_attempts, [one])
    ledger.write(finish_attempts, [failed])
    before = ledger.read(read_rows), budget(ledger)
    with pytest.raises(LedgerError, match="never begun, or whose end has been written down before"):
        ledger.write(finish_attempts, [failed])
    with pytest.raises(LedgerError, match="never begun"):
        ledger.write(finish_attempts, [replace(failed, intent=replace(one, attempt=2))])
    assert (ledger.read(read_rows), budget(ledger)) == before


def test_a_call_that_ends_after_its_owner_was_given_up_is_booked_as_what_it_is(
    ledger: Ledger, dataset: int, owner: Owner
) -> None:
    one = intent(enrolled(ledger, dataset), dataset, owner)
    ledger.write(start_attempts, [one])
    ledger.write(release, [owner.id], NOW)
    assert budget(ledger) == (0, 0, CENT)
    waste = ledger.read(cost_summary).waste
    assert (waste.maybe_billed.attempts, waste.maybe_billed.at_most_usd) == (1, Decimal("0.01"))
    ledger.write(finish_attempts, [completion(one, cost=CENT // 2)])
    assert budget(ledger) == (0, CENT // 2, 0)
    (log,) = ledger.read(lambda c: c.execute(select(generation_logs)).all())
    assert (log.status, log.billing, log.maybe_pico, log.error) == ("succeeded", "billed", 0, None)


def test_what_one_call_may_have_cost_is_kept_with_it(ledger: Ledger, dataset: int, owner: Owner) -> None:
    one = intent(enrolled(ledger, dataset), dataset, owner)
    ledger.write(start_attempts, [one])
    assert ledger.read(cost_summary).waste.maybe_billed.at_most_usd == Decimal("0.01")
    ledger.write(finish_attempts, [completion(one, cost=0, billing="maybe", status="failed", answer=None, usage=Usage())])
    (log,) = ledger.read(lambda c: c.execute(select(generation_logs)).all())
    assert (log.reserved_pico, log.maybe_pico) == (0, CENT)
    assert budget(ledger) == (0, 0, CENT)
