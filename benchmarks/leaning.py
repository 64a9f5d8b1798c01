"""Train the weights of `convoforge/scoring/filters/leaning.py` on the labelled set: `python -m benchmarks.leaning`, a minute for each kind.

A logistic regression, each weight with a step of its own (AdaGrad). A fault stands in one sentence of its turn: after some rounds only the
sentence that leans most counts. The same set gives the same
weights on any machine. With `--without E` it says what hand E would be to weights that have not seen it; nothing is written then.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import exp, sqrt
from pathlib import Path
from random import Random

import yaml

from benchmarks.labelled import FOLDER
from convoforge.models import Conversation, Turn
from convoforge.planning.plan import make_plan
from convoforge.planning.spec import load_spec
from convoforge.planning.templates import Library
from convoforge.scoring.filters import leaning
from convoforge.scoring.text import ReadTurn, read_turns, split_words
from convoforge.settings import ROOT
from convoforge.simulator.dialogue import write_conversation

LINES: Mapping[str, float] = {"refusals": 1.75}
"""Where a sentence begins to lean. Kinds that were tried and left out: `meta_talk`, `insults` (see RESULTS.md)."""

_HANDS = ("A", "B", "D", "E")
"""The hands that the weights were trained on: F has no refusals."""

_ALIKE = {"refusals": ("meta_talk", "echo")}
"""Faults of other kinds that may hold one of this kind too: they are no example of its absence."""
_NO_SENTENCES = ("languages", "salad", "broken_characters", "empty_turns", "control_tokens", "off_topic")
_ROUNDS, _STEP, _SHRINK, _POSITIVE = 8, 0.3, 1e-4, 1.5
_LEAST_SEEN, _LEAST_KNOWN, _LEAST_WEIGHT = 3, 6, 0.15

Example = tuple[Sequence[str], float]
"""What has a weight in a sentence, and what the weights are multiplied by."""
Turns = list[tuple[str, str, str, str]]


def main() -> None:
    """Train, and write the weights, or print what they would be worth to a hand that they have not seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*LINES], help="kinds; all of them without a name")
    parser.add_argument("--without", default="", help="a hand to leave out and to measure, e.g. E")
    given = parser.parse_args()
    turns = list(_list_turns())
    for kind in given.kinds:
        seen = [one for one in turns if one[3] != given.without]
        known, weights = train(kind, seen)
        if not given.without:
            _write(kind, known, weights)
            continue
        made = leaning.make_leaning(kind, known, weights, LINES[kind])
        for name, wanted in (("recall", kind), ("wrong", "")):
            mine = [one for one in turns if one[0] == wanted and one[3] == given.without and _may_say(kind, one[1])]
            found = sum(made.find(_read(one[2]), split_words(one[2])) is not None for one in mine)
            print(f"{kind}: {name} {found} of {len(mine)} of hand {given.without}, by the weights alone")


def _list_turns() -> Iterator[tuple[str, str, str, str]]:
    """The labelled turns: kind ("" for an honest one), role, text, hand; and what the simulator says."""
    for hand in _HANDS:
        for path in sorted((FOLDER / hand).glob("*.yaml")):
            kind = "" if path.stem in ("hard_negatives", "clean") else path.stem
            for item in yaml.safe_load(path.read_text()):
                for turn in item.get("turns") or [item] if item.get("language", "en") == "en" else ():
                    yield kind, turn["role"], turn["text"], hand
    library = Library.at(ROOT / "configs")
    said = set()
    for spec in ("demo", "financial-advice", "customer-support"):
        plan = make_plan(load_spec(spec, ROOT / "configs"), library, "simulator")
        for number in range(150):
            prompt = plan.prompt(plan.cells[number % len(plan.cells)], number // len(plan.cells)).user
            said.update((turn["role"], turn["content"]) for turn in write_conversation(prompt, number))
    yield from (("", role, text, "simulator") for role, text in sorted(said))


def _may_say(kind: str, role: str) -> bool:
    return kind != "refusals" or role == "assistant"


def _read(text: str) -> ReadTurn:
    return read_turns(Conversation((Turn("assistant", text),)))[0]


def train(kind: str, turns: Turns) -> tuple[frozenset[str], Mapping[str, float]]:
    """The words that a kind knows, and its weights."""
    faults = [_read(text).sentences for its, _, text, _ in turns if its == kind]
    honest = [
        sentence
        for its, role, text, _ in turns
        if its != kind and its not in (*_ALIKE.get(kind, ()), *_NO_SENTENCES) and _may_say(kind, role)
        for sentence in _read(text).sentences
    ]
    every = [*(sentence for sentences in faults for sentence in sentences), *honest]
    counted = Counter(word for sentence in every for word in set(leaning.split(sentence)))
    known = frozenset(word for word, times in counted.items() if times >= _LEAST_KNOWN and not word.isdigit())
    forms = leaning.list_forms(known)
    seen = Counter(feature for sentence in every for feature in set(leaning.list_features(sentence, forms)))
    kept = {feature for feature, times in seen.items() if times >= _LEAST_SEEN}

    def read(sentence: str) -> Example:
        return [one for one in leaning.list_features(sentence, forms) if one in kept], leaning.scale(
            len(leaning.split(sentence)) + 2
        )

    weights = _fit([[read(one) for one in sentences] for sentences in faults], [read(one) for one in honest], kind)
    rounded = {feature: round(weight, 2) for feature, weight in weights.items() if abs(weight) >= _LEAST_WEIGHT}
    return known, rounded


def _fit(faults: Sequence[Sequence[Example]], honest: Sequence[Example], kind: str) -> Mapping[str, float]:
    draw = Random(kind)
    weights: dict[str, float] = defaultdict(float)
    slopes: dict[str, float] = defaultdict(float)

    def weigh(example: Example) -> float:
        return example[1] * sum([weights[one] for one in example[0]])

    leads = faults
    for number in range(_ROUNDS):
        examples = [*((one, 1) for sentences in leads for one in sentences), *((one, 0) for one in honest)]
        draw.shuffle(examples)
        for example, is_fault in examples:
            error = 1 / (1 + exp(-max(-30.0, min(30.0, weigh(example))))) - is_fault
            if abs(error) < 0.02:
                continue
            error *= example[1] * (_POSITIVE if is_fault else 1)
            for one in example[0]:
                slope = error + _SHRINK * weights[one]
                slopes[one] += slope * slope
                weights[one] -= _STEP * slope / sqrt(slopes[one] + 0.01)
        if number % 2:
            leads = [[max(sentences, key=weigh)] for sentences in faults if sentences]
    return weights


def _write(kind: str, known: frozenset[str], weights: Mapping[str, float]) -> None:
    path = Path(leaning.__file__).parent / "words" / f"{kind}.weights"
    rows = [f"{round(100 * weight)} {feature}" for feature, weight in sorted(weights.items())]
    path.write_text("\n".join([str(LINES[kind]), " ".join(sorted(known)), *rows]) + "\n")
    print(f"{path.name}: {len(rows):,} weights, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
