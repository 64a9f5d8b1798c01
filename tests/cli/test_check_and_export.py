"""`convoforge check` and `convoforge export`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from publish.conftest import LINEAGE, Dataset
from support import Done, Project
from training import make_talks

from convoforge.publish import Layout

Command = Callable[..., Done]


@pytest.fixture
def advice(project: Project) -> Dataset:
    dataset = Dataset(Layout(project.data, "datasets", "advice"))
    dataset.publish(make_talks(24))
    dataset.publish(make_talks(48))
    return dataset


def test_check_prints_what_it_found_and_its_exit_code_is_the_verdict(run_here: Command, advice: Dataset) -> None:
    done = run_here("check", "advice")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("advice, version 2: 48 conversations\n")
    assert "✓ roles" in done.out and "→ name the model that you train: --tokenizer" in done.out
    assert done.out.endswith("It can be trained on.\n")
    short = run_here("check", "advice", "--max-length", "20", "--version", "1", "--json")
    assert (short.code, short.last["passed"], short.last["version"], short.last["rows"]) == (1, False, 1, 24)
    assert [one["check"] for one in short.last["findings"] if one["state"] == "bad"] == ["length"]
    assert short.last["tokens"]["conversation"]["maximum"] == 36
    assert short.last["advised_max_length"] == 256


def test_export_says_where_it_is_and_how_it_is_used(run_here: Command, advice: Dataset, project: Project) -> None:
    done = run_here("export", "advice", "--to", "axolotl", "--json")
    path = Path(done.last["path"])
    assert (done.code, path) == (0, project.data / "exports" / "datasets" / "advice" / "v0002" / "axolotl")
    assert done.last["files"] == ["axolotl.yaml", "export.json", "train.jsonl", "validation.jsonl"]
    assert done.last["use"] == f"cd {path} && axolotl train axolotl.yaml"
    again = run_here("export", "advice", "--to", "axolotl")
    assert (again.code, again.err) == (2, f"convoforge: {path} is there already: --overwrite replaces it\n")
    replaced = run_here("export", "advice", "--to", "axolotl", "--overwrite").out
    assert "axolotl train axolotl.yaml" in " ".join(replaced.split())  # a long path folds the line
    assert json.loads((path / "export.json").read_text())["rows"] == done.last["splits"]


def test_simulated_data_is_found_and_said_to_be(run_here: Command, project: Project) -> None:
    lineage = LINEAGE.model_copy(update={"provider": "simulator"})
    Dataset(Layout(project.data, "simulated", "played")).publish(make_talks(24, provider="simulator"), lineage=lineage)
    assert run_here("check", "played").out.startswith("played (simulated), version 1: 24 conversations\n")
    assert "simulated: not to train on" in run_here("export", "played", "--to", "openai").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "advise"), "did you mean 'advice'?"),
        (("check", "../advice"), "no version of '../advice' is published"),
        (("check", "advice", "--version", "7"), "'advice' has no version 7; there are: 1, 2"),
        (("check", "advice", "--simulated"), "no version of 'advice' is published"),
        (("check", "advice", "--tokenizer", "Qwen/none"), "nothing is downloaded"),
        (("export", "advice", "--to", "csv"), "sharegpt"),
    ],
)
def test_what_is_not_there_is_wrong_input(run_here: Command, advice: Dataset, arguments: tuple[str, ...], said: str) -> None:
    done = run_here(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err and done.err.count("\n") == 1
