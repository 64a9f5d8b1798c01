"""Precision and recall of the filters on the labelled set, and their time: `python -m benchmarks.filters`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from benchmarks.labelled import FOLDER, SEEN, Labelled, read_labelled
from convoforge.planning.quality import FilterChoice
from convoforge.scoring import Scorer
from convoforge.scoring.filters import FILTERS
from convoforge.scoring.registry import find_filters


@dataclass(frozen=True, slots=True)
class Measured:
    """What a filter did on the labelled set. `missed` are faults of its kind that it passed over, `wrong` honest conversations that it
    rejected, each with its reason; `seconds` is CPU time for one conversation."""

    name: str
    faults: int
    missed: Sequence[Labelled]
    wrong: Sequence[tuple[Labelled, str]]
    seconds: float

    @property
    def recall(self) -> float:
        """Share of the faults of its kind that it found."""
        return 1 - len(self.missed) / self.faults if self.faults else 1.0

    @property
    def precision(self) -> float:
        """Share of faults among what it rejected: of its kind, or of none."""
        found = self.faults - len(self.missed)
        return found / (found + len(self.wrong)) if found + len(self.wrong) else 1.0


def measure(one: Scorer, labelled: Sequence[Labelled]) -> Measured:
    """Ask a filter about every conversation of the set."""
    mine = [each for each in labelled if each.kind == one.name]
    honest = [each for each in labelled if not each.kind]
    for each in honest[:1]:  # what a filter reads once is not its time
        one.result(each.conversation, each.context)
    began = process_time()
    reasons = [one.result(each.conversation, each.context) for each in (*mine, *honest)]
    seconds = (process_time() - began) / max(1, len(reasons))
    found = [None if result.verdict == "keep" else result.reason for result in reasons]
    return Measured(
        one.name,
        len(mine),
        [each for each, reason in zip(mine, found, strict=False) if reason is None],
        [(each, reason) for each, reason in zip(honest, found[len(mine) :], strict=True) if reason is not None],
        seconds,
    )


def main() -> None:
    """Print the table, and with `--show` what was missed and what was wrongly rejected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="filters; all of them without a name")
    parser.add_argument("--show", action="store_true", help="print what was missed, and what was rejected wrongly")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the folder of the hands")
    parser.add_argument(
        "--hands", default=",".join(SEEN), help="whose turns: A,B,D,E,F,G, which authors of filters have read, or C, held out"
    )
    given = parser.parse_args()
    hands = given.hands.split(",")
    labelled = read_labelled(hands, given.folder)
    faults = defaultdict(int)
    for one in labelled:
        faults[one.kind] += 1
    names = given.names or FILTERS
    print(f"{len(labelled):,} conversations of {given.hands}, {faults['']:,} of them honest")
    print(f"{'filter':20}{'faults':>8}{'recall':>9}{'wrong':>8}{'precision':>11}{'ms':>8}")
    for one in find_filters([FilterChoice(name=name) for name in names]):
        done = measure(one, labelled)
        print(
            f"{one.name:20}{done.faults:8}{done.recall:9.3f}{len(done.wrong):8}{done.precision:11.3f}{done.seconds * 1000:8.3f}"
        )
        if given.show:
            for each in done.missed:
                print(f"    missed {each.hand}: {each.text[:220]!r}")
            for each, reason in done.wrong:
                print(f"    wrong  {each.hand}: {reason} | {each.text[:220]!r}")


if __name__ == "__main__":
    main()
