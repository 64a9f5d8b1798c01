"""Runs in an environment of axolotl's own: what its own code makes of a config. Prints JSON: split → the text that each row teaches."""

import json
import sys

import datasets
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets
from axolotl.loaders import load_tokenizer

datasets.Dataset.save_to_disk = lambda *_, **__: None  # a cache, which it writes with processes of its own

if __name__ == "__main__":
    config, changes = sys.argv[1:]
    cfg = load_cfg(config, **json.loads(changes))
    found, tokenizer = load_datasets(cfg=cfg), load_tokenizer(cfg)
    splits = {"train": found.train_dataset, "validation": found.eval_dataset}
    print(
        json.dumps(
            {
                name: [tokenizer.decode([one for one in row["labels"] if one >= 0]) for row in rows]
                for name, rows in splits.items()
            }
        )
    )
