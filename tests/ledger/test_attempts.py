"""Attempts in the ledger: intent and reservation before, everything else after, together or not at all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from ledger.made import CENT, NOW, cell, completion, intent
from sqlalchemy import Connection, select, text

from convoforge.errors import LedgerError
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import finish_attempts, start_attempts
from convoforge.ledger.budgets import Denied, list_budget_scopes, name_account, read_budgets
from convoforge.ledger.owners import LEASE, Owner, list_dead_owners, register, renew, retire
from convoforge.ledger.requests import Claimed, claim, read_draws, register_draws, release_claims
from convoforge.ledger.runs import begin_run
from convoforge.ledger.tables import generation_logs, requests
from convoforge.models import Usage
from convoforge.planning.spec import change_spec, load_spec
from convoforge.settings import ROOT


def enrolled(ledger: Ledger, dataset: int, count: int) -> list[int]:
    ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(count)])
    return [draw.request_id for draw in ledger.read(read_draws, dataset)]


def budget(ledger: Ledger, scope: str = "run:r") -> tuple[int, int, int]:
    budget = ledger.write(read_budgets, [scope])[scope]
    return budget["reserved_pico"], budget["spent_pico"], budget["maybe_pico"]


def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*work, return_exceptions=True)

    return asyncio.run(run())


def test_an_answer_cost_and_usage_are_committed_with_the_request(ledger: Ledger, dataset: int, owner: Owner) -> None:
    (request,) = enrolled(ledger, dataset, 1)
    one = intent(request, dataset, owner)
    assert ledger.write(start_attempts, [one]) == [None]
    assert budget(ledger) == (CENT, 0, 0)
    ledger.write(finish_attempts, [completion(one)])
    assert budget(ledger) == (0, CENT // 2, 0)
    (draw,) = ledger.read(read_draws, dataset)
    assert (draw.state, draw.kind, draw.fingerprint) == ("held", "ok", bytes.fromhex(64 * "5"))
    (log,) = ledger.read(lambda c: c.execute(select(generation_logs)).all())
    assert (log.status, log.billing, log.input_tokens, log.output_tokens, log.cost_pico) == (
        "succeeded",
        "billed",
        10,
        20,
        CENT // 2,
    )
    assert log.started_at == NOW


def test_a_call_that_does_not_fit_is_denied_and_leaves_no_trace(ledger: Ledger, dataset: int, owner: Owner) -> None:
    first, second = enrolled(ledger, dataset, 2)
    results = ledger.write(start_attempts, [intent(n, dataset, owner, cap=CENT * 3 // 2) for n in (first, second)])
    assert results[0] is None
    assert results[1] == Denied("run:r", CENT * 3 // 2, 0, CENT)
    assert budget(ledger) == (CENT, 0, 0)
    assert ledger.read(lambda c: len(c.execute(select(generation_logs)).all())) == 1


def test_64_at_once_get_not_a_cent_over_the_cap(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ids = enrolled(ledger, dataset, 64)

    async def one(request: int) -> bool:
        wish = intent(request, dataset, owner, cap=10 * CENT)
        if await ledger.batched(start_attempts, wish) is not None:
            return False
        await ledger.batched(finish_attempts, completion(wish, cost=CENT))
        return True

    assert sum(together(*(one(n) for n in ids))) == 10
    assert budget(ledger) == (0, 10 * CENT, 0)


def test_64_workers_with_connections_of_their_own_get_not_a_cent_over_any_cap(
    database_url: str, ledger: Ledger, dataset: int, owner: Owner
) -> None:
    """Each worker records three calls, one after the other, that end in every way a call can end."""
    ids, cap = enrolled(ledger, dataset, 64), 40 * CENT
    endings: list[dict[str, Any]] = [
        {"cost": CENT},
        {"cost": CENT // 3},
        {"cost": 0, "billing": "none", "status": "failed", "answer": None, "usage": Usage()},
        {"cost": 0, "billing": "maybe", "status": "failed", "answer": None, "usage": Usage()},
    ]
    over: list[int] = []

    def work(number: int) -> None:
        with Ledger(database_url) as own:
            for attempt in (1, 2, 3):
                wish = intent(ids[number], dataset, owner, cap=cap, attempt=attempt)
                if own.write(start_attempts, [wish]) != [None]:
                    continue
                over.extend(sum(row) for row in [budget(own)] if sum(row) > cap)
                own.write(finish_attempts, [completion(wish, **endings[(number + attempt) % 4])])

    with ThreadPoolExecutor(64) as workers:
        list(workers.map(work, range(64)))
    reserved, spent, maybe = budget(ledger)
    assert over == []
    assert (reserved, spent + maybe <= cap) == (0, True)
    assert spent + maybe > cap // 2  # and much of it was used: who was denied did not ask again
    logs = ledger.read(lambda c: c.execute(select(generation_logs)).all())
    assert spent == sum(row.cost_pico for row in logs)
    assert maybe == CENT * sum(row.billing == "maybe" for row in logs)


def test_what_may_have_been_billed_counts_against_the_cap_at_its_worst(ledger: Ledger, dataset: int, owner: Owner) -> None:
    first, second = enrolled(ledger, dataset, 2)
    one = intent(first, dataset, owner, cap=CENT)
    ledger.write(start_attempts, [one])
    ledger.write(finish_attempts, [completion(one, cost=0, billing="maybe", status="failed", answer=None, usage=Usage())])
    assert budget(ledger) == (0, 0, CENT)
    assert ledger.write(start_attempts, [intent(second, dataset, owner, cap=CENT)]) == [Denied("run:r", CENT, CENT, CENT)]


def test_one_bad_write_harms_no_other(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ids = enrolled(ledger, dataset, 5)
    ledger.write(start_attempts, [intent(ids[2], dataset, owner)])
    results = together(*(ledger.batched(start_attempts, intent(n, dataset, owner)) for n in ids))
    assert [type(one) for one in results] == [type(None), type(None), LedgerError, type(None), type(None)]
    assert budget(ledger) == (5 * CENT, 0, 0)


def test_writes_that_wait_together_share_a_commit(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ids = enrolled(ledger, dataset, 100)
    together(*(ledger.batched(start_attempts, intent(n, dataset, owner)) for n in ids))
    assert ledger.writer.commits < 20


def test_enrolling_twice_is_enrolling_once(ledger: Ledger, dataset: int) -> None:
    draws = [(cell(n), 0) for n in range(1200)]
    assert ledger.write(register_draws, dataset, draws) == 1200
    assert ledger.write(register_draws, dataset, [*draws, (cell(0), 1)]) == 1


def test_a_claimed_request_is_nobody_elses(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ids = enrolled(ledger, dataset, 3)
    other = Owner("b" * 32, owner.host, owner.pid, owner.started)
    ledger.write(register, other, NOW)
    assert ledger.write(claim, owner.id, ids[:2], NOW) == [Claimed(ids[0], cell(0).key, 0, 0), Claimed(ids[1], cell(1).key, 0, 0)]
    assert [one.request_id for one in ledger.write(claim, other.id, ids, NOW)] == [ids[2]]
    ledger.write(release_claims, owner.id, ids, "stopped")
    assert len(ledger.write(claim, other.id, ids, NOW)) == 2
    (reasons,) = {
        row.reason for row in ledger.read(lambda c: c.execute(select(requests).where(requests.c.id.in_(ids[:2]))).all())
    }
    assert reasons == "stopped"


def dead_pid(owner: Owner) -> Owner:
    return Owner("c" * 32, owner.host, 2**22 + 1, 1.0)


def far_away(owner: Owner) -> Owner:
    return Owner("d" * 32, "another-host/boot", owner.pid, owner.started)


def test_an_owner_whose_process_is_gone_is_dead_at_once(ledger: Ledger, owner: Owner) -> None:
    gone = dead_pid(owner)
    ledger.write(register, gone, NOW)
    assert ledger.read(list_dead_owners, NOW) == [gone.id]


def test_an_owner_on_another_machine_is_dead_when_its_lease_ends(ledger: Ledger, owner: Owner) -> None:
    other = far_away(owner)
    ledger.write(register, other, NOW)
    ledger.write(renew, owner.id, NOW + LEASE)
    assert ledger.read(list_dead_owners, NOW + LEASE / 2) == []
    assert ledger.read(list_dead_owners, NOW + LEASE * 1.1) == [other.id]
    ledger.write(renew, other.id, NOW + LEASE)
    assert ledger.read(list_dead_owners, NOW + LEASE * 1.1) == []


@pytest.mark.parametrize("make", [dead_pid, far_away])
def test_a_dead_owners_claims_and_reservations_go_back_and_its_open_calls_are_lost(
    ledger: Ledger, dataset: int, owner: Owner, make: Callable[[Owner], Owner]
) -> None:
    ids = enrolled(ledger, dataset, 2)
    dead = make(owner)
    ledger.write(register, dead, NOW)
    ledger.write(claim, dead.id, ids, NOW)
    ledger.write(start_attempts, [intent(ids[0], dataset, dead)])
    ledger.write(renew, owner.id, NOW + LEASE)
    taken = ledger.write(claim, owner.id, ids, NOW + LEASE * 1.1)
    assert [(one.request_id, one.attempts) for one in taken] == [(ids[0], 1), (ids[1], 0)]
    assert budget(ledger) == (0, 0, CENT)
    (log,) = ledger.read(lambda c: c.execute(select(generation_logs)).all())
    assert (log.status, log.billing, log.reserved_pico) == ("lost", "maybe", 0)


def test_what_a_dead_owner_had_reserved_may_have_been_billed_to_its_account(ledger: Ledger, dataset: int, owner: Owner) -> None:
    spec = change_spec(load_spec("demo", ROOT / "configs"), budget={"account": "a" * 40})
    scopes = list_budget_scopes("r", dataset, NOW, name_account(spec.budget.account, "anthropic"))
    assert all(len(scope) <= 80 for scope in scopes)  # the column of a PostgreSQL holds no more
    ledger.write(begin_run, "r", dataset, spec, owner.id, None, NOW)
    (request,) = enrolled(ledger, dataset, 1)
    ledger.write(start_attempts, [replace(intent(request, dataset, owner), limits=dict.fromkeys(scopes, 9 * CENT))])
    assert [budget(ledger, scope) for scope in scopes] == [(CENT, 0, 0)] * 3
    ledger.write(retire, owner.id, NOW)
    assert [budget(ledger, scope) for scope in scopes] == [(0, 0, CENT)] * 3


def test_an_owner_that_retires_gives_back_what_it_holds(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ids = enrolled(ledger, dataset, 2)
    ledger.write(claim, owner.id, ids, NOW)
    ledger.write(retire, owner.id, NOW)

    def states(connection: Connection) -> set[str]:
        return set(connection.execute(select(requests.c.state)).scalars())

    assert ledger.read(states) == {"pending"}
    assert ledger.read(list_dead_owners, NOW + LEASE * 2) == []


def test_a_table_that_is_gone_fails_at_once_instead_of_being_waited_for(ledger: Ledger, dataset: int, owner: Owner) -> None:
    (request,) = enrolled(ledger, dataset, 1)
    ledger.write(lambda c: c.execute(text("DROP TABLE generation_logs")) and None)
    begun = time.monotonic()
    (error,) = together(ledger.batched(start_attempts, intent(request, dataset, owner)))
    assert isinstance(error, LedgerError)
    assert "generation_logs" in str(error)
    assert time.monotonic() - begun < 10


def test_a_loop_that_closes_while_its_write_is_under_way_ends_no_later_write(ledger: Ledger, dataset: int) -> None:
    """Who was cancelled does not wait for its write, and its loop may close at any moment of it."""

    class Closing(asyncio.SelectorEventLoop):
        leaving = False

        def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
            if self.leaving:
                self.close()
            return super().call_soon_threadsafe(*args, **kwargs)

    loop = Closing()
    is_running, goes_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        is_running.set()
        goes_on.wait(5)

    async def leave() -> None:
        left = asyncio.create_task(ledger.awrite(hold))
        await asyncio.to_thread(is_running.wait, 5)
        left.cancel()
        await asyncio.wait([left])

    loop.run_until_complete(leave())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.leaving = True
    goes_on.set()

    async def write_again() -> int:
        async with asyncio.timeout(5):
            return await ledger.awrite(lambda connection: 7)

    assert asyncio.run(write_again()) == 7
