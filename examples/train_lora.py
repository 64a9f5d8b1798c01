"""Train a LoRA adapter on a published dataset, with TRL and PEFT: `pip install 'convoforge[train]'`, then

    python -m convoforge.examples.train_lora data/datasets/NAME/latest --base-model Qwen/Qwen3-0.6B

This file needs nothing else of convoforge: copy it and change it. Only what the assistant says is learned, its end of turn included;
system and user turns are context. Nothing is cut unless `--max-length` says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic import BaseModel, ConfigDict, Field

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}"
)
"""For a base model without a chat template of its own. It needs no new tokens, and its markers say what is learned."""


class TrainOptions(BaseModel):
    """How an adapter is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_model: str | None = Field(default=None, description="Base model: its name on the Hugging Face Hub, or a folder.")
    output: str | None = Field(default=None, description="Folder for the adapter. Default: adapters/NAME/vNNNN.")
    epochs: float = Field(default=2, gt=0, description="Number of passes over the training split.")
    max_steps: int = Field(default=-1, ge=-1, description="Maximum number of optimizer steps; -1 is no limit.")
    learning_rate: float = Field(default=2e-4, gt=0, description="Learning rate of the adapter.")
    batch_size: int = Field(default=2, ge=1, description="Number of conversations on a device at once.")
    accumulate: int = Field(default=4, ge=1, description="Number of batches that make one optimizer step.")
    rank: int = Field(default=16, ge=1, description="Rank of the adapter's matrices; its alpha is twice that.")
    max_length: int | None = Field(
        default=None, ge=1, description="Maximum tokens of a conversation; the rest is cut. Default: none."
    )
    chat_template: str | None = Field(
        default=None, description="Jinja file with {% generation %} markers, for a model whose own template TRL does not know."
    )
    simulated: bool = Field(default=False, description="Train on simulated data too: a rehearsal, not a model to use.")
    seed: int = Field(default=7, description="Seed of the adapter's weights and of the order of conversations.")


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter: its folder, the dataset's version, how many conversations were learned, and the metrics of training and evaluation."""

    output: Path
    dataset: str
    version: int
    rows: int
    metrics: Mapping[str, float]


def read_manifest(dataset: str) -> dict[str, Any]:
    """The manifest of the version at a path or a URL. Raises `OSError` where there is none."""
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open(f"{dataset.rstrip('/')}/manifest.json") as file:
        found: dict[str, Any] = json.load(file)
    return found


def load_splits(dataset: str, splits: Mapping[str, int]) -> dict[str, Any]:
    """The rows of each split of the version at a path or a URL. With a folder in an object store, `datasets` wants its files."""
    from datasets import load_dataset

    files = {split: f"{dataset.rstrip('/')}/data/{split}-*.parquet" for split in splits}
    return dict(load_dataset("parquet", data_files=files))


def make_trainer(rows: Mapping[str, Any], output: Path, options: TrainOptions) -> Any:
    """A trainer that learns what the assistant says in `messages`. Raises what the libraries raise for a model that cannot be had."""
    import torch
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    assert options.base_model is not None
    tokenizer = AutoTokenizer.from_pretrained(options.base_model)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return SFTTrainer(
        model=options.base_model,
        processing_class=tokenizer,
        train_dataset=rows["train"],
        eval_dataset=rows.get("validation"),
        peft_config=LoraConfig(
            r=options.rank, lora_alpha=2 * options.rank, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        args=SFTConfig(
            output_dir=str(output),
            assistant_only_loss=True,
            max_length=options.max_length,
            chat_template_path=options.chat_template,
            num_train_epochs=options.epochs,
            max_steps=options.max_steps,
            learning_rate=options.learning_rate,
            per_device_train_batch_size=options.batch_size,
            gradient_accumulation_steps=options.accumulate,
            eval_strategy="epoch" if "validation" in rows else "no",
            save_strategy="no",
            logging_steps=5,
            report_to="none",
            use_cpu=not torch.accelerator.is_available(),
            disable_tqdm=True,
            seed=options.seed,
        ),
    )


def make_progress(report: Callable[[str], None]) -> Any:
    """A callback of the trainer that tells steps and losses."""
    from transformers import TrainerCallback

    class TrainingProgress(TrainerCallback):  # type: ignore[misc]
        def on_log(self, _args: Any, state: Any, _control: Any, logs: Mapping[str, Any], **_more: Any) -> None:
            losses = [f"{name.replace('_', ' ')} {float(logs[name]):.3f}" for name in ("loss", "eval_loss") if name in logs]
            if losses:
                report(f"step {state.global_step} of {state.max_steps}: {', '.join(losses)}")

    return TrainingProgress()


def train(dataset: str, options: TrainOptions, report: Callable[[str], None] = print) -> Trained:
    """Train an adapter on the version at `dataset`, a path or a URL, and save it with `training.json`, which says on what and how.
    `report` gets a line for each few steps.

    Raises `ValueError` for simulated data without `simulated`, `OSError` where dataset or model cannot be read.
    """
    manifest = read_manifest(dataset)
    if manifest["provider"] == "simulator" and not options.simulated:
        raise ValueError(f"{dataset} was written by the simulator: it teaches a model nothing. To rehearse with it: simulated")
    from transformers import PrinterCallback

    output = Path(options.output or f"adapters/{manifest['dataset']}/v{manifest['version']:04d}")
    trainer = make_trainer(load_splits(dataset, manifest["splits"]), output, options)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(make_progress(report))
    metrics = dict(trainer.train().metrics) | (trainer.evaluate() if trainer.eval_dataset is not None else {})
    trainer.save_model(str(output))
    facts = {key: manifest[key] for key in ("dataset", "version", "data_sha256", "provider")}
    record = {**facts, "path": dataset, "options": options.model_dump(), "metrics": metrics}
    (output / "training.json").write_text(json.dumps(record, indent=2) + os.linesep)
    return Trained(output, manifest["dataset"], manifest["version"], manifest["splits"]["train"], metrics)


def main() -> None:
    """The command line: the options of `TrainOptions`, with dashes."""
    app = App(help=__doc__, help_format="plaintext")

    @app.default
    def run(dataset: str, *, options: Annotated[TrainOptions, Parameter(name="*")] = TrainOptions()) -> None:
        if options.base_model is None:
            raise SystemExit("no base model: name one with --base-model")
        try:
            done = train(dataset, options)
        except (OSError, ValueError) as error:
            raise SystemExit(f"no adapter was trained: {error}") from error
        print(f"trained on {done.rows:,} conversations of {done.dataset}, version {done.version}: {done.output}")

    app()


if __name__ == "__main__":
    main()
