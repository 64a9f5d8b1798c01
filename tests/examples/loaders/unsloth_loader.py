"""Runs in an environment of unsloth's own: what its trainer makes of a dataset. Prints JSON: split → the text that each row teaches."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

from unsloth_lora import make_trainer  # noqa: E402

if __name__ == "__main__":
    trainer = make_trainer(*sys.argv[1:])
    splits = {"train": trainer.train_dataset, "validation": trainer.eval_dataset}
    decode = trainer.processing_class.decode
    print(
        json.dumps({name: [decode([one for one in row["labels"] if one >= 0]) for row in rows] for name, rows in splits.items()})
    )
