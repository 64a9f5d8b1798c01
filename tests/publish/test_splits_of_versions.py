"""Conversations keep their split from version to version, read from the files as a trainer reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]

from convoforge.publish import PublishedRow, SplitRule, find_groups

Rows = Callable[..., list[PublishedRow]]


def splits_of(version: Path) -> dict[str, str]:
    """The split of each conversation of a version."""
    files = (version / "data").glob("*.parquet")
    return {name: path.name.split("-")[0] for path in files for name in pq.read_table(path)["conversation_id"].to_pylist()}


def rows_of(make_row: Callable[..., PublishedRow], personas: int, topics: range, each: int = 2) -> list[PublishedRow]:
    """Conversations of every pair of persona and topic, the same ones whenever they are asked for."""
    pairs = ((persona, topic, n) for persona in range(personas) for topic in topics for n in range(each))
    return [make_row(p * 10_000 + t * 100 + n, persona=f"Persona {p}", topic=f"Topic {t}") for p, t, n in pairs]


def test_no_conversation_ever_moves_as_personas_come_and_topics_go_and_come_back(
    dataset: Any, make_row: Callable[..., PublishedRow]
) -> None:
    seen: dict[str, str] = {}
    for personas, topics, each in ((2, range(4), 2), (5, range(6), 2), (5, range(2, 6), 3), (1, range(6), 1), (6, range(8), 3)):
        found = splits_of(dataset.publish(rows_of(make_row, personas, topics, each)).path)
        assert seen == {**seen, **{name: split for name, split in found.items() if name in seen}}
        assert set(found.values()) == {"train", "validation"}
        seen |= found


def test_a_change_of_how_it_is_split_starts_afresh_and_is_told_and_a_change_back_finds_what_was(
    dataset: Any, make_row: Callable[..., PublishedRow]
) -> None:
    rows = rows_of(make_row, 6, range(6))
    first = dataset.publish(rows)
    other = dataset.publish(rows, seed=8, fractions={"train": 0.5, "validation": 0.5})
    again = dataset.publish(rows_of(make_row, 7, range(6)))
    assert splits_of(first.path) != splits_of(other.path)
    assert splits_of(first.path).items() <= splits_of(again.path).items()
    assert (first.notes, other.notes) == (
        (),
        (told := "fractions and seed changed since v0001: conversations may be in another split",),
    )
    assert f"\n- {told}" in (other.path / "README.md").read_text()
    assert again.notes == (told.replace("v0001", "v0002"),)


def test_where_a_version_does_not_say_which_groups_are_where_the_next_one_says_so(
    dataset: Any, make_row: Callable[..., PublishedRow]
) -> None:
    first = dataset.publish(rows := rows_of(make_row, 3, range(3)))
    path = first.path / "manifest.json"  # as an earlier release left it
    manifest = json.loads(path.read_text())
    manifest["files"] = [file for file in manifest["files"] if file["path"] != "groups.json"]
    path.write_text(json.dumps(manifest))
    second = dataset.publish(rows)
    assert second.notes == (told := "v0001 has no groups.json: conversations that are in it alone may be in another split",)
    assert f"\n- {told}" in (second.path / "README.md").read_text()
    assert dataset.publish(rows).notes == ()


def test_the_card_names_what_a_split_lacks(dataset: Any, make_row: Callable[..., PublishedRow]) -> None:
    rows = [*rows_of(make_row, 1, range(20)), make_row(999_999, persona="Only *One*", topic="Topic 0", tier="rare")]
    published = dataset.publish(rows, fractions={"train": 0.9, "validation": 0.1})
    card = (published.path / "README.md").read_text()
    assert "\n- `validation` holds no persona Only \\*One\\*.\n" in card
    assert "\n- `validation` holds no tier rare.\n" in card
    (line,) = (line for line in card.splitlines() if line.startswith("- `validation` holds no topic"))
    assert line.endswith(" and 6 more.")
    assert "`train` holds no persona" not in card


def test_where_another_publisher_has_placed_a_group_elsewhere_the_splits_are_planned_again(
    dataset: Any, make_row: Callable[..., PublishedRow]
) -> None:
    few, many = rows_of(make_row, 2, range(3), each=1), rows_of(make_row, 4, range(3), each=9)
    calls = []

    def rows() -> Iterator[PublishedRow]:
        if not calls:
            dataset.publish(few)
        calls.append(1)
        yield from many

    published = dataset.publish(many, accepted=rows)
    assert (published.version, len(calls)) == (2, 2)
    first = splits_of(dataset.versions / "v0001")
    assert first.items() <= splits_of(published.path).items()
    kept = json.loads((published.path / "groups.json").read_text())
    assert sorted(group for groups in kept.values() for group in groups) == sorted({row.split_group for row in many})


def test_a_version_whose_groups_are_not_as_they_were_written_is_none(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish(make_rows(24), fingerprint="same")
    (published.path / "groups.json").unlink()
    assert dataset.publish(make_rows(24), fingerprint="same").version == 2


def test_the_groups_that_conversations_were_published_with_are_found_in_whatever_version_has_them_last(
    dataset: Any, make_rows: Rows
) -> None:
    rule = SplitRule(fractions={"train": 0.75, "validation": 0.25}, group_by=("persona", "topic"), seed=7)
    rows = make_rows(30)
    dataset.publish([replace(rows[0], split_group="another's"), *rows[1:20]])
    dataset.publish(rows[10:])
    ids = {row.conversation_id for row in rows}
    found = find_groups(dataset.layout, ids | {"unknown"}, rule)
    assert found == {row.conversation_id: row.split_group for row in rows} | {rows[0].conversation_id: "another's"}
    assert find_groups(dataset.layout, ids, rule.model_copy(update={"seed": 8})) == {}
