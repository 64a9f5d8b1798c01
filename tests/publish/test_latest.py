"""`latest`: where it leads, when it moves, and how it is put right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count, repeat
from typing import Any

import pytest
from publish.conftest import LINEAGE

from convoforge.errors import LedgerError
from convoforge.publish import PublishedRow

Rows = Callable[..., list[PublishedRow]]


def test_latest_moves_with_every_version_and_is_relative(dataset: Any, make_rows: Rows) -> None:
    for number in (1, 2, 3):
        dataset.publish(make_rows(20 + number))
        assert dataset.latest == f"v{number:04d}"


def test_latest_stays_where_it_is_when_a_version_has_fewer_rows(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24))
    fewer = dataset.publish(make_rows(12))
    assert fewer.path.is_dir()
    assert dataset.latest == "v0001"
    assert "latest stays at v0001 (24 rows), because v0002 has only 12" in fewer.notes[-1]
    assert dataset.publish(make_rows(23)).version == 3
    assert dataset.latest == "v0001"
    assert dataset.publish(make_rows(24)).notes == ()
    assert dataset.latest == "v0004"


@pytest.mark.parametrize(
    ("planned", "before", "after", "follows"),
    [
        (100, 100, 98, True),
        (100, 100, 97, False),  # more than 2 % fewer than before
        (100, 96, 95, True),
        (100, 95, 94, False),  # less than 95 % of the plan
        (200, 100, 99, False),  # few of what is planned
        (49, 49, 48, False),
        (50, 50, 49, True),
        (0, 100, 99, False),  # nobody knows what was planned
        (100, 90, 91, True),  # more than before, whatever is planned
    ],
)
def test_latest_follows_a_version_that_lost_a_few_rows(
    dataset: Any, make_rows: Rows, planned: int, before: int, after: int, follows: bool
) -> None:
    lineage = LINEAGE.model_copy(update={"counts": {"planned": planned}})
    dataset.publish(make_rows(before), lineage=lineage)
    published = dataset.publish(make_rows(after), lineage=lineage)
    assert dataset.latest == ("v0002" if follows else "v0001")
    assert published.latest == (2 if follows else 1)
    assert (published.behind is None) == follows
    assert published.load_path == (dataset.folder / "latest" if follows else dataset.versions / "v0002")


def test_where_nothing_is_accepted_any_more_latest_stays_and_it_is_said(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24))
    nothing = dataset.publish([])
    assert (nothing.version, nothing.latest, nothing.load_path, dataset.latest) == (None, 1, None, "v0001")
    assert nothing.notes == (
        "nothing is published: no conversation is accepted",
        "latest stays at v0001 (24 rows), of which nothing is accepted today",
    )


def test_a_few_rows_lost_again_and_again_stop_at_the_share_of_the_plan(dataset: Any, make_rows: Rows) -> None:
    lineage = LINEAGE.model_copy(update={"counts": {"planned": 100}})
    for rows in (100, 98, 97, 96, 95, 94, 93):
        dataset.publish(make_rows(rows), lineage=lineage)
    assert dataset.latest == "v0005"


def test_what_says_that_latest_stays_says_how_it_moves(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24, provider="simulator"), lineage=LINEAGE.model_copy(update={"provider": "simulator"}))
    fewer = dataset.publish(make_rows(12, provider="simulator"), lineage=LINEAGE.model_copy(update={"provider": "simulator"}))
    assert fewer.behind == (
        "latest stays at v0001 (24 rows), because v0002 has only 12 of 12 planned; it follows a version of 95 % of the plan and at most "
        "2 % fewer rows, or is moved by `convoforge publish advice --simulated --allow-fewer`"
    )


def test_latest_moves_to_fewer_rows_when_that_is_allowed(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24))
    assert dataset.publish(make_rows(12), allow_fewer=True).notes == ()
    assert dataset.latest == "v0002"


def test_fewer_rows_can_be_allowed_afterwards_and_stay_allowed(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24))
    dataset.publish(make_rows(12), fingerprint="fewer")
    again = dataset.publish(make_rows(12), fingerprint="fewer")
    assert again.unchanged
    assert dataset.latest == "v0001"
    assert "latest stays at v0001" in again.notes[-1]
    assert dataset.publish(make_rows(12), fingerprint="fewer", allow_fewer=True).unchanged
    assert dataset.latest == "v0002"
    assert dataset.publish(make_rows(12), fingerprint="fewer").notes == ()
    assert dataset.latest == "v0002"


def test_rows_that_an_older_version_holds_make_no_second_version_of_them(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24), fingerprint="all")
    dataset.publish(make_rows(12), fingerprint="fewer")
    again = dataset.publish(make_rows(24), fingerprint="all")
    assert (again.version, again.unchanged, again.latest, again.behind, again.notes) == (1, True, 1, None, ())
    dataset.publish(make_rows(12), fingerprint="fewer", allow_fewer=True)
    assert dataset.latest == "v0002"
    assert dataset.publish(make_rows(24), fingerprint="all").version == 1
    assert dataset.latest == "v0001"
    assert dataset.publish(make_rows(25), fingerprint="more").version == 3
    assert dataset.latest == "v0003"
    stays = dataset.publish(make_rows(24), fingerprint="all")
    assert (stays.version, stays.latest) == (1, 3)
    assert stays.behind.startswith("latest stays at v0003 (25 rows), because v0001 has only 24")
    assert dataset.visible == ["latest", "v0001", "v0002", "v0003"]


@pytest.mark.parametrize("broken", ["missing", "dangling", "behind"])
def test_an_unchanged_publish_puts_latest_right(dataset: Any, make_rows: Rows, broken: str) -> None:
    dataset.publish(make_rows(12))
    newest = dataset.publish(make_rows(24), fingerprint="same")
    link = dataset.folder / "latest"
    link.unlink()
    if broken != "missing":
        link.symlink_to("v0009" if broken == "dangling" else "v0001")
    again = dataset.publish(make_rows(24), fingerprint="same")
    assert (again.unchanged, again.path) == (True, newest.path)
    assert dataset.latest == "v0002"


def test_a_lost_latest_does_not_come_back_at_fewer_rows_that_were_never_allowed(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24))
    dataset.publish(make_rows(12), fingerprint="fewer")
    (dataset.folder / "latest").unlink()
    dataset.publish(make_rows(12), fingerprint="fewer")
    assert dataset.latest == "v0001"


def test_a_lost_latest_comes_back_at_fewer_rows_that_were_allowed(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(24))
    dataset.publish(make_rows(12), fingerprint="fewer", allow_fewer=True)
    (dataset.folder / "latest").unlink()
    dataset.publish(make_rows(12), fingerprint="fewer")
    assert dataset.latest == "v0002"


@pytest.mark.parametrize("damage", ["data", "card", "short", "manifest", "no manifest"])
def test_a_damaged_version_is_not_good_and_the_content_is_published_anew(dataset: Any, make_rows: Rows, damage: str) -> None:
    path = dataset.publish(make_rows(24), fingerprint="same").path
    match damage:
        case "data":
            shutil.rmtree(path / "data")
        case "card":
            (path / "README.md").unlink()
        case "short":
            file = next((path / "data").iterdir())
            file.write_bytes(file.read_bytes()[:-1])
        case "manifest":
            (path / "manifest.json").write_text("{")
        case "no manifest":
            (path / "manifest.json").unlink()
    again = dataset.publish(make_rows(24), fingerprint="same")
    assert (again.unchanged, again.version) == (False, 2)
    assert dataset.latest == "v0002"


def test_a_number_is_never_used_twice_even_if_the_ledger_is_new(dataset: Any, make_rows: Rows) -> None:
    dataset.publish(make_rows(12))
    dataset.publish(make_rows(12))
    (dataset.versions / "v0007").mkdir()
    dataset.reserve = count(1).__next__
    assert dataset.publish(make_rows(12)).version == 8
    assert dataset.latest == "v0008"


def test_numbers_that_do_not_grow_are_an_error(dataset: Any, make_rows: Rows) -> None:
    dataset.reserve = repeat(1).__next__
    dataset.publish(make_rows(12))
    with pytest.raises(LedgerError, match="version number 1 was reserved after 1"):
        dataset.publish(make_rows(12))
    assert dataset.visible == ["latest", "v0001"]


def test_a_version_of_a_later_release_counts_as_good(dataset: Any, make_rows: Rows) -> None:
    manifest = dataset.publish(make_rows(24), fingerprint="same").path / "manifest.json"
    text = manifest.read_text().replace('"format_version": 2', '"format_version": 3,\n  "unheard_of": 0')
    manifest.write_text(text)
    assert dataset.publish(make_rows(12), fingerprint="same").version == 2
    assert dataset.latest == "v0001", "it has more rows"
