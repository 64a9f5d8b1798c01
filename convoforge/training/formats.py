"""The formats that a version is exported in: what becomes of a row, and the files beside the rows that make a trainer load them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from convoforge.training.chat_template import Messages  # imports Jinja; the command line needs the names of formats alone

ExportTarget = Literal["sharegpt", "alpaca", "openai", "llamafactory", "axolotl"]

_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """`convert` makes a row of a file; `snippets` make, of the splits and a `max_length` (tokens), the files that load the rows, by name;
    `use` is how that is done, in the exported folder."""

    convert: Callable[[Messages], Mapping[str, Any]]
    snippets: Callable[[Sequence[str], int], Mapping[str, str]]
    use: str


def _to_messages(messages: Messages) -> dict[str, Any]:
    return {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in messages]}


def _to_sharegpt(messages: Messages) -> dict[str, Any]:
    return {"conversations": [{"from": _SHAREGPT[turn["role"]], "value": turn["content"]} for turn in messages]}


def _to_alpaca(messages: Messages) -> dict[str, Any]:
    """The last pair of turns, what was said before in `history`, as LLaMA-Factory has it."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    said = [turn["content"] for turn in messages if turn["role"] != "system"]
    *history, (instruction, output) = zip(said[::2], said[1::2], strict=True)
    return {
        "instruction": instruction,
        "input": "",
        "output": output,
        "system": system,
        "history": [list(pair) for pair in history],
    }


def _describe(splits: Sequence[str], description: Mapping[str, Any]) -> str:
    """LLaMA-Factory's `dataset_info.json`."""
    return json.dumps({split: {"file_name": f"{split}.jsonl", **description} for split in splits}, indent=2) + "\n"


def _load_with_datasets(splits: Sequence[str], _max_length: int) -> dict[str, str]:
    names = ", ".join(f'"{split}": "{split}.jsonl"' for split in splits)
    return {"load.py": f'from datasets import load_dataset\n\nrows = load_dataset("json", data_files={{{names}}})\n'}


def _load_sharegpt(splits: Sequence[str], max_length: int) -> dict[str, str]:
    info = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    return {**_load_with_datasets(splits, max_length), "dataset_info.json": _describe(splits, info)}


def _load_alpaca(splits: Sequence[str], max_length: int) -> dict[str, str]:
    columns = {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}
    return {**_load_with_datasets(splits, max_length), "dataset_info.json": _describe(splits, {"columns": columns})}


def _load_openai(splits: Sequence[str], _max_length: int) -> dict[str, str]:
    ids = "".join(
        f'    {name}=client.files.create(file=open("{split}.jsonl", "rb"), purpose="fine-tune").id,\n'
        for name, split in zip(("training_file", "validation_file"), splits, strict=False)
    )
    return {
        "upload.py": "from openai import OpenAI\n\nclient = OpenAI()\njob = client.fine_tuning.jobs.create(\n"
        f'    model="gpt-4.1-mini-2025-04-14",\n{ids})\nprint(job.id)\n'
    }


def _load_llamafactory(splits: Sequence[str], max_length: int) -> dict[str, str]:
    config = _read_example("llama_factory", "train.yaml")
    config |= {"dataset_dir": ".", "dataset": splits[0], "cutoff_len": max_length, "output_dir": "adapter"}
    config |= {"eval_dataset": splits[1]} if len(splits) > 1 else {}
    told = json.loads(files("convoforge").joinpath("examples", "llama_factory", "dataset_info.json").read_text())
    info = {key: value for key, value in told["train"].items() if key not in ("hf_hub_url", "split")}
    return {
        "dataset_info.json": _describe(splits, info),
        "train.yaml": _write_yaml(config, drop=() if len(splits) > 1 else ("eval",)),
    }


def _load_axolotl(splits: Sequence[str], max_length: int) -> dict[str, str]:
    config = _read_example("axolotl.yaml")
    for key, split in zip(("datasets", "test_datasets"), splits, strict=False):
        config[key] = [{**config[key][0], "path": f"{split}.jsonl", "ds_type": "json", "split": "train"}]
    config |= {"sequence_len": max_length, "output_dir": "adapter"}
    return {"axolotl.yaml": _write_yaml(config, drop=() if len(splits) > 1 else ("test_datasets",))}


def _read_example(*path: str) -> dict[str, Any]:
    """A configuration of `examples/`, which the tests load with the trainer's own code."""
    import yaml

    found: dict[str, Any] = yaml.safe_load(files("convoforge").joinpath("examples", *path).read_text())
    return found


def _write_yaml(config: Mapping[str, Any], *, drop: Sequence[str]) -> str:
    import yaml

    kept = {key: value for key, value in config.items() if not key.startswith(tuple(drop))} if drop else dict(config)
    return yaml.safe_dump(kept, sort_keys=False)


FORMATS: Mapping[ExportTarget, ExportFormat] = {
    "sharegpt": ExportFormat(_to_sharegpt, _load_sharegpt, "python load.py, or a LLaMA-Factory run with dataset_dir: ."),
    "alpaca": ExportFormat(_to_alpaca, _load_alpaca, "python load.py, or a LLaMA-Factory run with dataset_dir: ."),
    "openai": ExportFormat(_to_messages, _load_openai, "python upload.py"),
    "llamafactory": ExportFormat(_to_messages, _load_llamafactory, "llamafactory-cli train train.yaml"),
    "axolotl": ExportFormat(_to_messages, _load_axolotl, "axolotl train axolotl.yaml"),
}
