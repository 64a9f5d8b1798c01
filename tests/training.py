"""What trains in tests: random language models of a few thousand weights, made here, and what they are to learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars
from publish.conftest import make_row, talk

from convoforge.publish import PublishedRow

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_talks(number: int, **changes: Any) -> list[PublishedRow]:
    """Rows of which no two begin alike, in 12 groups."""
    texts = [(f"Question {n} of mine?", f"An answer to {n}.", "And then?", f"Then {n}.") for n in range(number)]
    return [make_row(n, conversation=talk(*texts[n]), **changes) for n in range(number)]


def make_tokenizer() -> Any:
    """A tokenizer whose tokens are bytes, with the control tokens of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate([*special, *letters])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer


def read_replies(version: Path, split: str) -> Sequence[Sequence[str]]:
    """What the assistant says in each conversation of a split, turn by turn."""
    rows = polars.read_parquet(version / "data" / f"{split}-*.parquet")["messages"].to_list()
    return [[turn["content"] for turn in row if turn["role"] == "assistant"] for row in rows]


def make_model(folder: Path, chat_template: str | None = None) -> Path:
    """A Llama that knows nothing, whose tokens are bytes, with the special tokens of ChatML."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(),
        eos_token="<|im_end|>" if chat_template else "<|endoftext|>",
        pad_token="<|endoftext|>" if chat_template else "<|im_start|>",
        chat_template=chat_template,
    )
    fast.save_pretrained(folder)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    LlamaForCausalLM(LlamaConfig(vocab_size=len(fast), max_position_embeddings=16_384, **shape)).save_pretrained(folder)
    return folder
