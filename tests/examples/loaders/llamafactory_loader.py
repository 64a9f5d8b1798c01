"""Runs in an environment of LLaMA-Factory's own: what its own code makes of a config. Prints JSON: split → the text that each row teaches."""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import yaml

sound = ModuleType("torchaudio")  # it is imported whatever is trained, and none fits every build of torch
sound.__spec__ = ModuleSpec("torchaudio", None)
sys.modules.setdefault("torchaudio", sound)

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402

if __name__ == "__main__":
    config, changes = sys.argv[1:]
    wishes = yaml.safe_load(Path(config).read_text())
    model, data, training, _, _ = get_train_args({**wishes, **json.loads(changes)})
    module = load_tokenizer(model)
    tokenizer = module["tokenizer"]
    found = get_dataset(get_template_and_fix_tokenizer(tokenizer, data), model, data, training, stage="sft", **module)
    splits = {"train": found["train_dataset"], "validation": found["eval_dataset"]}
    print(
        json.dumps(
            {
                name: [tokenizer.decode([one for one in row["labels"] if one >= 0]) for row in rows]
                for name, rows in splits.items()
            }
        )
    )
