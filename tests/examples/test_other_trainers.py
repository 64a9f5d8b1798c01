"""The snippets for other trainers, loaded by their own code: what each teaches is what the assistant says, of the split it names.

Their requirements exclude ours and each other's, so each is looked for in an environment of its own: `.trainers/NAME`, where `make trainers` puts it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from training import read_replies

from convoforge.publish.reading import find_published
from convoforge.training.export import Export
from convoforge.training.formats import ExportTarget

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"


def load(trainer: str, folder: Path, *arguments: str) -> dict[str, list[str]]:
    """split → what each row teaches, as `loaders/TRAINER_loader.py` prints it in the trainer's environment. It leaves caches in `folder`."""
    python = ROOT / ".trainers" / trainer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{trainer} is not installed: `make trainers`")
    switches = (
        "HF_HUB_OFFLINE",
        "DO_NOT_TRACK",
        "AXOLOTL_DO_NOT_TRACK",
        "DISABLE_VERSION_CHECK",
        "UNSLOTH_SKIP_TORCHVISION_CHECK",
    )
    environment = {**os.environ, **dict.fromkeys(switches, "1")}
    command = [python, ROOT / "tests" / "examples" / "loaders" / f"{trainer}_loader.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def with_dataset(source: Path, target: Path, published: Path) -> Path:
    """A copy of a snippet with the published version in the place of the one it names."""
    text = source.read_text()
    assert "data/datasets/financial-advice/latest" in text
    target.write_text(text.replace("data/datasets/financial-advice/latest", str(published)))
    return target


def taught(published: Path, split: str, end: str) -> list[str]:
    return ["".join(f"{reply}{end}" for reply in replies) for replies in read_replies(published, split)]


def test_axolotl_teaches_what_the_assistant_says(published: Path, chat_model: Path, tmp_path: Path) -> None:
    config = with_dataset(EXAMPLES / "axolotl.yaml", tmp_path / "axolotl.yaml", published)
    wishes = {"base_model": str(chat_model), "output_dir": str(tmp_path), "dataset_prepared_path": str(tmp_path / "prepared")}
    found = load("axolotl", tmp_path, str(config), json.dumps(wishes))
    for split in ("train", "validation"):
        assert sorted(found[split]) == sorted(taught(published, split, "<|im_end|>"))


def test_llamafactory_teaches_what_the_assistant_says(published: Path, chat_model: Path, tmp_path: Path) -> None:
    with_dataset(EXAMPLES / "llama_factory" / "dataset_info.json", tmp_path / "dataset_info.json", published)
    wishes = {
        "model_name_or_path": str(chat_model),
        "dataset_dir": str(tmp_path),
        "output_dir": str(tmp_path / "out"),
        "use_cpu": True,
        "overwrite_cache": True,
    }
    found = load("llamafactory", tmp_path, str(EXAMPLES / "llama_factory" / "train.yaml"), json.dumps(wishes))
    for split in ("train", "validation"):
        assert sorted(found[split]) == sorted(taught(published, split, "<|im_end|>\n"))


def test_unsloth_teaches_what_the_assistant_says(published: Path, chat_model: Path, tmp_path: Path) -> None:
    found = load("unsloth", tmp_path, str(published), str(chat_model), str(tmp_path / "out"))
    for split in ("train", "validation"):
        assert sorted(found[split]) == sorted(taught(published, split, "<|im_end|>"))


def test_the_versions_that_are_installed_are_those_of_the_readme() -> None:
    installed = re.findall(r"(\w+)==([\d.]+)", (ROOT / "Makefile").read_text().partition("\ntrainers:")[2].partition("; do")[0])
    rows = re.findall(r"^\| ([\w-]+) \|.*\| ([\d.]+) \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert [(name.lower().replace("-", ""), version) for name, version in rows] == installed


@pytest.mark.parametrize("target", ["llamafactory", "sharegpt", "alpaca"])
def test_llamafactory_teaches_the_same_from_an_export(
    target: ExportTarget, published: Path, chat_model: Path, tmp_path: Path
) -> None:
    folder = export_to(target, published, tmp_path / target)
    own = folder / "train.yaml"
    wishes = {
        "model_name_or_path": str(chat_model),
        "dataset_dir": str(folder),
        "output_dir": str(tmp_path / "out"),
        "use_cpu": True,
        "overwrite_cache": True,
        "cutoff_len": 8192,  # bytes are tokens here
    }
    config = own if own.exists() else EXAMPLES / "llama_factory" / "train.yaml"
    found = load("llamafactory", tmp_path, str(config), json.dumps(wishes))
    for split in ("train", "validation"):
        assert sorted(found[split]) == sorted(taught(published, split, "<|im_end|>\n"))


def test_axolotl_teaches_the_same_from_an_export(published: Path, chat_model: Path, tmp_path: Path) -> None:
    folder = export_to("axolotl", published, tmp_path / "axolotl")
    wishes = {"base_model": str(chat_model), "output_dir": str(tmp_path), "dataset_prepared_path": str(tmp_path / "prepared")}
    found = load("axolotl", folder, str(folder / "axolotl.yaml"), json.dumps({**wishes, "sequence_len": 8192}))
    for split in ("train", "validation"):
        assert sorted(found[split]) == sorted(taught(published, split, "<|im_end|>"))


def export_to(target: ExportTarget, published: Path, folder: Path) -> Path:
    """The published version as files of another format."""
    version = find_published(published.parents[2], published.parent.name, simulated=True)
    assert [*Export(version, target, folder, overwrite=False).run()]
    return folder
