"""Batches in the ledger: an intent before, a name after, each result once; no process's end gives back what a batch works on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ledger.made import CENT, NOW, cell, completion, intent
from sqlalchemy import Connection, insert, select, text

from convoforge.ledger import Ledger
from convoforge.ledger.attempts import Intent
from convoforge.ledger.budgets import Denied, read_budgets
from convoforge.ledger.message_batches import (
    Seen,
    begin_batch,
    count_in_batches,
    end_batch,
    finish_parts,
    list_known_batches,
    list_open_batches,
    list_troubled_batches,
    make_custom_id,
    name_batch,
    read_parts,
    write_seen,
)
from convoforge.ledger.owners import LEASE, Owner, register, retire
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.tables import generation_logs, runs
from convoforge.models import Asked

ASKED = Asked("s" * 64, "1/x", "Be kind.", 0.5)


def begun(ledger: Ledger, dataset: int, owner: Owner, count: int = 3, *, batch: str = "b1", cap: int | None = None) -> Any:
    """A batch of so many claimed requests, about to be made; the ids, and what became of each reservation."""

    def a_run(connection: Connection) -> None:
        values = {"id": "r", "dataset_id": dataset, "owner": owner.id, "model": "m", "started_at": NOW, "state": "running"}
        if connection.execute(select(runs.c.id).where(runs.c.id == "r")).one_or_none() is None:
            connection.execute(insert(runs), values)

    ledger.write(a_run)
    ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(count)])
    ids = sorted(draw.request_id for draw in ledger.read(read_draws, dataset))
    ledger.write(claim, owner.id, ids, NOW)
    parts = [(part_of(intent(one, dataset, owner, cap=cap), batch), ASKED) for one in ids]
    return ids, ledger.write(begin_batch, batch, parts, NOW)


def part_of(one: Intent, batch: str) -> Intent:
    from dataclasses import replace

    return replace(one, owner=batch, batch_id=batch)


def states(ledger: Ledger) -> list[tuple[str, str | None]]:
    return [tuple(row) for row in ledger.read(lambda c: c.execute(text("SELECT state, owner FROM requests ORDER BY id")).all())]


def budget(ledger: Ledger) -> tuple[int, int, int]:
    budget = ledger.write(read_budgets, ["run:r"])["run:r"]
    return budget["reserved_pico"], budget["spent_pico"], budget["maybe_pico"]


def test_a_batch_is_written_down_before_it_is_made_and_named_after(ledger: Ledger, dataset: int, owner: Owner) -> None:
    begun(ledger, dataset, owner)
    [batch] = ledger.read(list_open_batches, dataset)
    assert (batch.id, batch.run_id, batch.dataset, batch.api_id, batch.api_key, batch.requests, batch.created_at) == (
        "b1",
        "r",
        "advice",
        None,
        "3f2a9c",
        3,
        NOW,
    )
    assert states(ledger) == [("claimed", "b1")] * 3
    assert budget(ledger) == (3 * CENT, 0, 0)
    ledger.write(name_batch, "b1", "msgbatch_1")
    assert ledger.read(list_open_batches)[0].api_id == "msgbatch_1"
    assert ledger.read(list_known_batches) == {"msgbatch_1"}
    assert ledger.read(count_in_batches, dataset) == 3
    ledger.write(end_batch, "b1", "ended", NOW)
    assert ledger.read(list_open_batches) == []


def test_a_batch_holds_what_its_budget_has_room_for(ledger: Ledger, dataset: int, owner: Owner) -> None:
    _, results = begun(ledger, dataset, owner, cap=2 * CENT)
    assert results == [None, None, Denied("run:r", 2 * CENT, 0, CENT)]
    assert ledger.read(list_open_batches)[0].requests == 2
    assert states(ledger) == [("claimed", "b1"), ("claimed", "b1"), ("claimed", owner.id)]
    assert len(ledger.read(read_parts, "b1")) == 2


def test_a_batch_for_which_there_is_no_room_at_all_leaves_no_trace(ledger: Ledger, dataset: int, owner: Owner) -> None:
    begun(ledger, dataset, owner, cap=CENT // 2)
    assert ledger.read(list_open_batches) == []
    assert ledger.read(count_in_batches, dataset) == 0


def test_what_a_batch_works_on_outlives_every_process(ledger: Ledger, dataset: int, owner: Owner) -> None:
    begun(ledger, dataset, owner)
    ledger.write(retire, owner.id, NOW)
    late = NOW + 10 * LEASE
    ledger.write(register, Owner("other", "elsewhere", 1, 1.0), late)  # puts right what dead owners left
    ledger.write(claim, "other", [1, 2, 3], late)
    assert states(ledger) == [("claimed", "b1")] * 3
    assert len(ledger.read(read_parts, "b1")) == 3
    assert budget(ledger) == (3 * CENT, 0, 0)


def test_a_part_is_read_back_as_it_was_sent(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ids, _ = begun(ledger, dataset, owner)
    parts = ledger.read(read_parts, "b1")
    assert set(parts) == {make_custom_id(cell(n).key, 0, 1) for n in range(3)}
    one = parts[make_custom_id(cell(0).key, 0, 1)]
    assert (one.asked, one.cell, one.draw) == (ASKED, cell(0).key, 0)
    sent = part_of(intent(ids[0], dataset, owner), "b1")
    assert one.intent == sent


def test_a_result_is_written_once_however_often_it_is_read(ledger: Ledger, dataset: int, owner: Owner) -> None:
    begun(ledger, dataset, owner)
    parts = list(ledger.read(read_parts, "b1").values())
    done = [completion(part.intent) for part in parts[:2]]
    assert len(ledger.write(finish_parts, done)) == 2
    assert ledger.write(finish_parts, done) == set()
    everything = [completion(part.intent) for part in parts]
    assert ledger.write(finish_parts, everything) == {(parts[2].intent.request_id, 1)}
    assert budget(ledger) == (0, 3 * (CENT // 2), 0)
    assert states(ledger) == [("held", None)] * 3
    logs = ledger.read(lambda c: c.execute(select(generation_logs)).all())
    assert {(row.status, row.batch_id, row.cost_pico) for row in logs} == {("succeeded", "b1", CENT // 2)}


def test_custom_ids_are_what_the_api_takes() -> None:
    import re

    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", make_custom_id("f" * 32, 999_999, 9_999))


def test_batches_are_listed_oldest_first_and_by_dataset(ledger: Ledger, dataset: int, owner: Owner) -> None:
    begun(ledger, dataset, owner, 1)
    ledger.write(register_draws, dataset, [(cell(9), 0)])
    new = max(draw.request_id for draw in ledger.read(read_draws, dataset))
    ledger.write(begin_batch, "b0", [(part_of(intent(new, dataset, owner), "b0"), ASKED)], NOW - timedelta(hours=1))
    assert [batch.id for batch in ledger.read(list_open_batches, dataset)] == ["b0", "b1"]
    assert ledger.read(list_open_batches, dataset + 1) == []


def test_what_a_look_found_is_kept_and_what_was_wrong_stays_when_a_batch_has_ended(
    ledger: Ledger, dataset: int, owner: Owner
) -> None:
    begun(ledger, dataset, owner)
    assert ledger.read(list_open_batches)[0].seen == Seen()
    seen = Seen(NOW, "in_progress", NOW, NOW - timedelta(hours=1), "the API does not know it", NOW + timedelta(hours=5))
    ledger.write(write_seen, "b1", seen)
    assert ledger.read(list_open_batches)[0].seen == seen
    assert ledger.read(list_troubled_batches, 5) == []
    ledger.write(end_batch, "b1", "ended", NOW, "1 result could not be read")
    [over] = ledger.read(list_troubled_batches, 5)
    assert (over.id, over.seen.trouble) == ("b1", "1 result could not be read")
