"""The query behind lists: it never raises, covers each row once, and knows what the acceptance rule says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from recorded import NOW, Dataset
from sqlalchemy import update
from viewing import SPEC, write_talk

from convoforge.dataset.browse import ORDERS, Search, find, find_place
from convoforge.dataset.snapshot import Snapshot, make_snapshot, read_mark
from convoforge.ledger import Ledger
from convoforge.ledger.tables import answers
from convoforge.models import Turn
from convoforge.review.deciding import decide
from convoforge.settings import Settings


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Snapshot]]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with Ledger(settings.database_url) as ledger:
        Dataset(ledger).build(SPEC)
        write_talk(ledger)
        yield ledger, make_snapshot(ledger, settings, "sheep", "anthropic", with_texts=True)


@hypothesis_settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([*Search.model_fields, "other"]), st.text() | st.from_regex(r"-?\d{1,12}(\.\d*)?")))
def test_any_text_can_be_asked_for(opened: tuple[Ledger, Snapshot], query: dict[str, str]) -> None:
    search = Search.read(query)
    found = find(opened[1], search)
    assert len(found.rows) <= found.total <= 16
    assert Search.read(search.as_query()) == search  # an address says all of it


@hypothesis_settings(max_examples=20)
@given(st.sampled_from([*ORDERS]), st.integers(3, 20), st.sampled_from(["", "wool", "Bread", "%", "_"]))
def test_pages_hold_each_row_once_in_one_order(opened: tuple[Ledger, Snapshot], order: str, size: int, text: str) -> None:
    search = Search(order=order, text=text)
    pages = find(opened[1], search, size).pages
    ids = [
        row.conversation_id
        for page in range(1, pages + 1)
        for row in find(opened[1], Search(order=order, text=text, page=page), size).rows
    ]
    assert len(ids) == len(set(ids)) == find(opened[1], search).total
    places = [find_place(opened[1], search, one) for one in ids]
    assert [place.number for place in places] == [*range(1, len(ids) + 1)]
    assert [place.after for place in places] == [*ids[1:], None][: len(ids)]
    assert [place.before for place in places] == [None, *ids[:-1]][: len(ids)]


def test_every_filter_finds_what_it_names(opened: tuple[Ledger, Snapshot]) -> None:
    def count(**query: str) -> int:
        return find(opened[1], Search.read(query)).total

    assert count() == 16
    assert count(persona="A baker") == count(topic="wool") == 8
    assert count(text="100% WOOL_") == 1 and count(text="100%_wool") == 0  # nothing in it is a pattern
    assert count(text="c3") == 1  # an id
    assert count(status="accepted") == 14 and count(status="needs_revision") == 1 and count(status="dropped") == 1
    assert count(min_score="1", max_score="3") == 1
    assert count(flag="pii") == 1 and count(flag="p") == 0
    assert count(min_cost="0.02") == 0 and count(max_cost="$0.01") == 16
    assert count(run="anthropic1") == 16 and count(run="x") == 0
    assert count(reviewed="none") == 16 and count(page="99999") == 16


def test_a_review_and_another_score_show_in_the_next_snapshot(database_url: str, tmp_path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url)
    with Ledger(database_url) as ledger:
        Dataset(ledger).build(SPEC)
        write_talk(ledger)
        before = make_snapshot(ledger, settings, "sheep", "anthropic", with_texts=True)
        change_and_look_again(ledger, settings, before)


def change_and_look_again(ledger: Ledger, settings: Settings, before: Snapshot) -> None:
    decide(ledger, "c1", "reject", "Ann", now=NOW + timedelta(days=1))
    decide(ledger, "c2", "edit", "Ann", now=NOW, turns=[Turn("user", "Sheep?"), Turn("assistant", "A merino.")])
    assert ledger.read(read_mark, before.dataset_id) != before.mark
    ledger.write(lambda connection: connection.execute(update(answers).where(answers.c.request_id == 4).values(score=2)))
    after = make_snapshot(ledger, settings, "sheep", "anthropic", before, with_texts=True)
    rows = {row.conversation_id: row for row in find(after, Search()).rows}
    assert (rows["c1"].status, rows["c1"].reviewed, rows["c1"].reason) == ("dropped", "reject", "rejected in review")
    assert rows["c4"].status == "needs_revision" and rows["c4"].score == 2
    assert [row.conversation_id for row in find(after, Search(text="merino")).rows] == ["c2"]  # as it is published
    assert find(after, Search(reviewed="any")).total == 2 and find(after, Search(reviewed="edit")).total == 1
