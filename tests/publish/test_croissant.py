"""The description of a version after Croissant 1.0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from convoforge.publish import PublishedRow
from convoforge.publish.rows import SCHEMA


def described(published: Any) -> Any:
    return json.loads((published.path / "croissant.json").read_text(encoding="utf-8"))


def nodes(of: Any) -> Iterator[dict[str, Any]]:
    for one in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from nodes(one)
    if isinstance(of, dict) and "@type" in of:
        yield of


def test_each_split_has_its_files_and_a_field_for_each_column(dataset: Any, make_rows: Callable[..., list[PublishedRow]]) -> None:
    published = dataset.publish(make_rows(48), license="MIT")
    found = described(published)
    assert (found["conformsTo"], found["@type"], found["license"]) == ("http://mlcommons.org/croissant/1.0", "sc:Dataset", "MIT")
    assert [one["@id"] for one in found["recordSet"]] == ["train", "validation"] == list(published.splits)
    for files in found["distribution"]:
        assert list(published.path.glob(files["includes"]))
    for records in found["recordSet"]:
        assert [field["name"] for field in records["field"]] == SCHEMA.names
    ids = [one["@id"] for one in nodes(found) if "@id" in one]
    assert len(ids) == len(set(ids))
    fields = [one for one in nodes(found) if one["@type"] == "cr:Field"]
    assert all(("source" in one) != ("subField" in one) for one in fields)
    assert {one["source"]["fileSet"]["@id"] for one in fields if "source" in one} <= set(ids)
    [messages] = [one for one in found["recordSet"][0]["field"] if one["name"] == "messages"]
    assert messages["repeated"] and [part["@id"] for part in messages["subField"]] == [
        "train/messages/role",
        "train/messages/content",
    ]


def test_the_manifest_has_its_hash(dataset: Any, make_rows: Callable[..., list[PublishedRow]]) -> None:
    published = dataset.publish(make_rows(6))
    manifest = json.loads((published.path / "manifest.json").read_text())
    assert {file["path"] for file in manifest["files"]} >= {"README.md", "croissant.json"}
