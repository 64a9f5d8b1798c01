"""A version as files of another format: each is what its documentation says, and loads."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import yaml
from publish.conftest import make_row, talk
from training import make_talks

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.publish.reading import PublishedVersion
from convoforge.training.export import Export, choose_folder
from convoforge.training.formats import FORMATS, ExportTarget

Publish = Callable[..., PublishedVersion]


def export(published: PublishedVersion, target: ExportTarget, *, out: Path | None = None, overwrite: bool = False) -> Path:
    folder = choose_folder(published, target, out)
    assert [*Export(published, target, folder, overwrite=overwrite).run()][-1] == published.manifest.rows
    return folder


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def messages(published: PublishedVersion, split: str) -> list[list[dict[str, str]]]:
    path = published.version.path / "data" / f"{split}-*.parquet"  # type: ignore[operator]
    return polars.read_parquet(path)["messages"].to_list()


@pytest.mark.parametrize("target", FORMATS)
def test_every_row_is_in_the_file_of_its_split_and_datasets_loads_it(
    published: Publish, target: ExportTarget, load: Callable[..., Any]
) -> None:
    version = published(make_talks(24))
    folder = export(version, target)
    assert folder == version.layout.data / "exports" / "datasets" / "advice" / "v0001" / target  # type: ignore[operator]
    loaded = load("json", data_files={split: str(folder / f"{split}.jsonl") for split in ("train", "validation")})
    assert {split: rows.num_rows for split, rows in loaded.items()} == dict(version.manifest.splits)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    note = json.loads((folder / "export.json").read_text())
    assert note == {
        "dataset": "advice",
        "version": 1,
        "provider": "anthropic",
        "data_sha256": version.manifest.data_sha256,
        "target": target,
        "rows": dict(version.manifest.splits),
    }


def test_openai_rows_hold_messages_and_nothing_else(published: Publish) -> None:
    """What https://platform.openai.com/docs/guides/supervised-fine-tuning asks for: JSONL, `messages` with role and content."""
    version = published(make_talks(24))
    folder = export(version, "openai")
    for split in ("train", "validation"):
        rows = read(folder / f"{split}.jsonl")
        assert [row["messages"] for row in rows] == messages(version, split)
        assert all(row.keys() == {"messages"} for row in rows)
    compile((folder / "upload.py").read_text(), "upload.py", "exec")


def test_sharegpt_rows_name_who_speaks(published: Publish) -> None:
    version = published(make_talks(24))
    names = {"human": "user", "gpt": "assistant", "system": "system"}
    rows = read(export(version, "sharegpt") / "train.jsonl")
    said = [[{"role": names[turn["from"]], "content": turn["value"]} for turn in row["conversations"]] for row in rows]
    assert said == messages(version, "train")


def test_alpaca_rows_are_the_last_pair_with_what_was_said_before(published: Publish) -> None:
    row = read(export(published(make_talks(1)), "alpaca") / "train.jsonl")[0]
    assert row == {
        "instruction": "And then?",
        "input": "",
        "output": "Then 0.",
        "system": "You advise.",
        "history": [["Question 0 of mine?", "An answer to 0."]],
    }


def test_the_snippet_of_datasets_loads_what_lies_beside_it(
    published: Publish, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export(published(make_talks(24)), "sharegpt")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec((folder / "load.py").read_text(), names)
    assert names["rows"].keys() == {"train", "validation"}


def test_the_configurations_name_the_files_and_a_length_that_cuts_nothing(published: Publish) -> None:
    version = published([*make_talks(24), make_row(24, conversation=talk("x" * 4000, "y" * 4000, system=None))])
    axolotl = yaml.safe_load((export(version, "axolotl") / "axolotl.yaml").read_text())
    assert [(one["path"], one["ds_type"], one["split"]) for one in (axolotl["datasets"][0], axolotl["test_datasets"][0])] == [
        ("train.jsonl", "json", "train"),
        ("validation.jsonl", "json", "train"),
    ]
    llama = yaml.safe_load((export(version, "llamafactory") / "train.yaml").read_text())
    assert (axolotl["sequence_len"], llama["cutoff_len"], llama["dataset_dir"]) == (2560, 2560, ".")
    assert (llama["dataset"], llama["eval_dataset"]) == ("train", "validation")


@pytest.mark.parametrize("target", FORMATS)
def test_a_dataset_without_validation_asks_for_none(published: Publish, target: ExportTarget) -> None:
    folder = export(published(make_talks(3, persona="A", topic="B")), target)
    assert not any("validation" in path.read_text() or "eval_" in path.read_text() for path in folder.iterdir())


def test_nothing_is_replaced_unless_told_and_nothing_that_is_no_export(published: Publish, tmp_path: Path) -> None:
    version = published(make_talks(24))
    folder = export(version, "openai", out=tmp_path / "out")
    (folder / "train.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="is there already: the option `overwrite` replaces it"):
        export(version, "openai", out=folder)
    assert (folder / "train.jsonl").read_text() == "mine"
    export(version, "sharegpt", out=folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "what was replaced is gone"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("dataset_info.json", "export.json", "load.py", "train.jsonl", "validation.jsonl")
    ]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is there and is no export"):
        export(version, "openai", out=tmp_path / "home", overwrite=True)
    with pytest.raises(ConfigError, match="is written to this machine, and s3:/bucket/x is an object store: name a folder"):
        export(version, "openai", out=Path("s3://bucket/x"))


def test_an_export_that_fails_leaves_nothing(published: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = published(make_talks(24))
    before = export(version, "openai", out=tmp_path / "out")
    monkeypatch.setattr("convoforge.training.export.make_private", lambda _: Path("/nowhere").stat())
    with pytest.raises(ConvoforgeError, match="nothing was exported: .* cannot be written: No such file or directory"):
        export(version, "sharegpt", out=before, overwrite=True)
    assert json.loads((before / "export.json").read_text())["target"] == "openai"
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("data", "hf")] == ["out"]
