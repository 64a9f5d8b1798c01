"""Train a LoRA adapter on a published dataset with unsloth, in an environment of its own:

    python examples/unsloth_lora.py data/datasets/NAME/latest Qwen/Qwen3-0.6B adapters/unsloth

Only what the assistant says is learned, its end of turn included. What is longer than `max_length` is cut.
"""

from __future__ import annotations

import sys
from typing import Any


def make_trainer(dataset: str, base_model: str, output: str) -> Any:
    """A trainer that learns what the assistant says in `messages`, in ChatML whatever template the model has."""
    from unsloth import FastLanguageModel  # noqa: I001 - before the others: it changes them
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer
    from unsloth.chat_templates import get_chat_template, train_on_responses_only

    length = 4096  # the card of the version recommends one (`max_length`)
    model, tokenizer = FastLanguageModel.from_pretrained(base_model, max_seq_length=length, load_in_4bit=False)
    model = FastLanguageModel.get_peft_model(model, r=16, lora_alpha=32)
    tokenizer = get_chat_template(tokenizer, "chatml")
    rows = load_dataset(dataset)
    rows = rows.map(
        lambda row: {"text": tokenizer.apply_chat_template(row["messages"], tokenize=False)},
        remove_columns=rows["train"].column_names,
    )
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=rows["train"],
        eval_dataset=rows.get("validation"),
        args=SFTConfig(
            output_dir=output,
            dataset_text_field="text",
            max_length=length,
            num_train_epochs=2,
            learning_rate=2e-4,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=4,
            report_to="none",
        ),
    )
    return train_on_responses_only(trainer, instruction_part="<|im_start|>user\n", response_part="<|im_start|>assistant\n")


if __name__ == "__main__":
    _, dataset, base_model, output = sys.argv
    trainer = make_trainer(dataset, base_model, output)
    trainer.train()
    trainer.save_model(output)
