"""A LoRA adapter, trained on what was really published, by the example's own command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from training import read_replies

from convoforge.examples.train_lora import TrainOptions, load_splits, make_trainer, read_manifest

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


@pytest.fixture(params=["base_model", "chat_model"])
def model(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.long
def test_what_the_assistant_says_is_learned_to_its_last_token_and_nothing_else(
    model: Path, published: Path, tmp_path: Path
) -> None:
    rows = load_splits(str(published), read_manifest(str(published))["splits"])
    trainer = make_trainer(rows, tmp_path, TrainOptions(base_model=str(model), batch_size=4))
    tokenizer = trainer.processing_class
    end = tokenizer.eos_token
    think = "<think>\n\n</think>\n\n" if trainer.chat_template else ""  # Qwen 3's own way to say: without thinking
    line = "\n" if trainer.chat_template else ""
    for split, prepared in (("train", trainer.train_dataset), ("validation", trainer.eval_dataset)):
        learned = [tokenizer.decode([label for label in row["labels"] if label != -100]) for row in prepared]
        said = read_replies(published, split)
        assert learned == ["".join(f"{think}{reply}{end}{line}" for reply in replies) for replies in said]
        for row in prepared:  # nothing is cut, and what is learned stands where it is read
            assert len(row["labels"]) == len(row["input_ids"])
            assert all(label in (-100, token) for label, token in zip(row["labels"], row["input_ids"], strict=True))
    batch = next(iter(trainer.get_train_dataloader()))
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


@pytest.mark.long
def test_the_command_trains_an_adapter_that_says_what_it_was_trained_on(
    base_model: Path, published: Path, tmp_path: Path
) -> None:
    wishes = ["--max-steps", "6", "--learning-rate", "0.02", "--batch-size", "1", "--accumulate", "1", "--output", str(tmp_path)]
    done = train(published, "--base-model", str(base_model), "--simulated", *wishes)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(str(published))
    learned = manifest["splits"]["train"]
    assert done.stdout.splitlines()[-1] == f"trained on {learned} conversations of demo, version 1: {tmp_path}"
    record = json.loads((tmp_path / "training.json").read_text())
    assert {key: record[key] for key in ("dataset", "version", "data_sha256", "provider")} == {
        "dataset": "demo",
        "version": 1,
        "data_sha256": manifest["data_sha256"],
        "provider": "simulator",
    }
    assert 0 < record["metrics"]["eval_loss"] < math.log(259)  # what a model that knows nothing of its 259 tokens has
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tmp_path).encode("### user\nHow do I begin?\n### assistant\n", return_tensors="pt")
    adapted = AutoPeftModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        after = adapted(tokens).logits
        with adapted.disable_adapter():
            before = adapted(tokens).logits
    assert not torch.allclose(after, before)


@pytest.mark.long
def test_simulated_data_is_refused_unless_a_rehearsal_is_wished(published: Path, tmp_path: Path) -> None:
    done = train(published, "--base-model", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"no adapter was trained: {published} was written by the simulator: it teaches a model nothing. To rehearse with it: simulated\n"
    )


def test_what_is_missing_is_said_on_one_line(tmp_path: Path) -> None:
    assert train(tmp_path).stderr == "no base model: name one with --base-model\n"
    nowhere = train(tmp_path / "nowhere", "--base-model", "x")
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("no adapter was trained: ") and nowhere.stderr.count("\n") == 1


def train(dataset: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m convoforge.examples.train_lora`, run to its end."""
    command = [sys.executable, "-m", "convoforge.examples.train_lora", str(dataset), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
