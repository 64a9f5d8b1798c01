"""PostgreSQL has committed, and the connection breaks before it says so: what was written then is not written twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from storm.wires import Wire

from convoforge.ledger import Ledger
from convoforge.ledger.attempts import AnswerRow, Completion, Intent, finish_attempts, read_budgets, start_attempts
from convoforge.ledger.draws import claim, enrol, read_draws
from convoforge.ledger.owners import new_owner, register
from convoforge.ledger.runs import dataset_id
from convoforge.models import Usage
from convoforge.plan import Cell

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


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
    owner = new_owner()
    ledger.write(register, owner, NOW)
    dataset = ledger.write(dataset_id, "lost", "simulator", NOW)
    ledger.write(enrol, dataset, [(Cell("0" * 32, "Anxious Investor", "Fear", "bonds", "template", "advice"), 0)])
    [draw] = ledger.read(read_draws, dataset)
    intent = Intent(
        request_id=draw.request_id,
        attempt=1,
        run_id="r",
        dataset_id=dataset,
        owner=owner.id,
        provider="simulator",
        model="claude-sonnet-5-5",
        template="advice",
        api_key=None,
        price="2/10/2.5/4/0.1",
        started_at=NOW,
        reserve_pico=100,
        limits={"run:r": None},
    )
    row = AnswerRow("c", "s" * 64, "ok", '[["user","a"],["assistant","b"]]', None, None, None, "1/x", None, False, None)
    done = Completion(intent, "succeeded", "billed", NOW, 1, usage=Usage(10, 20), cost_pico=40, answer=row)

    async def deafly(write: Callable[..., Any], *arguments: Any) -> Any:
        deaf.next_commit = True
        return await write(*arguments)

    async def run() -> None:
        [claimed] = await deafly(ledger.awrite, claim, owner.id, [draw.request_id], NOW)
        assert claimed.request_id == draw.request_id
        assert await deafly(ledger.batched, start_attempts, intent) is None
        await deafly(ledger.batched, finish_attempts, done)

    asyncio.run(run())
    assert deaf.lost == 3
    book = ledger.write(read_budgets, ["run:r"])["run:r"]
    assert (book["reserved_pico"], book["spent_pico"], book["maybe_pico"]) == (0, 40, 0)
    [held] = ledger.read(read_draws, dataset)
    assert (held.state, held.kind) == ("held", "ok")
