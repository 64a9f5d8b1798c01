"""PostgreSQL has committed, and the connection breaks before it says so: what was written then is not written twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ledger.made import NOW, cell, completion, intent
from sqlalchemy.engine import make_url
from storm.wires import Wire

from convoforge.ledger import Ledger
from convoforge.ledger.attempts import finish_attempts, start_attempts
from convoforge.ledger.budgets import read_budgets
from convoforge.ledger.owners import make_owner, register
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset


class Deaf:
    """Where it is told to, the answer to the next commit does not come through."""

    next_commit = False
    lost = 0

    def __call__(self, said: bytes) -> bool:
        if not self.next_commit or b"COMMIT\0" not in said:
            return False
        self.next_commit = False
        self.lost += 1
        return True


@pytest.fixture
def deaf() -> Deaf:
    return Deaf()


@pytest.fixture
def ledger(postgres: Callable[[str], str], deaf: Deaf) -> Iterator[Ledger]:
    url = make_url(postgres("lost_answers"))
    folder = url.query["host"]
    assert isinstance(folder, str)
    wire = Wire(f"{folder}/.s.PGSQL.{url.port or 5432}", deaf)
    through = url.set(host="127.0.0.1", port=wire.port, query={})
    with Ledger(through.render_as_string(hide_password=False)) as opened:
        yield opened
    wire.cut()


def test_a_write_whose_commit_went_unanswered_is_there_once(ledger: Ledger, deaf: Deaf) -> None:
    owner = make_owner()
    ledger.write(register, owner, NOW)
    dataset = ledger.write(ensure_dataset, "lost", "anthropic", NOW)
    ledger.write(register_draws, dataset, [(cell(0), 0)])
    [draw] = ledger.read(read_draws, dataset)
    begun = intent(draw.request_id, dataset, owner)
    done = completion(begun, cost=40)

    async def deafly(write: Callable[..., Any], *arguments: Any) -> Any:
        deaf.next_commit = True
        return await write(*arguments)

    async def run() -> None:
        [claimed] = await deafly(ledger.awrite, claim, owner.id, [draw.request_id], NOW)
        assert claimed.request_id == draw.request_id
        assert await deafly(ledger.batched, start_attempts, begun) is None
        await deafly(ledger.batched, finish_attempts, done)

    asyncio.run(run())
    assert deaf.lost == 3
    budget = ledger.write(read_budgets, ["run:r"])["run:r"]
    assert (budget["reserved_pico"], budget["spent_pico"], budget["maybe_pico"]) == (0, 40, 0)
    [held] = ledger.read(read_draws, dataset)
    assert (held.state, held.kind) == ("held", "ok")
