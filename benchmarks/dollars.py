"""Dollars for each accepted conversation, against the peers: `python -m benchmarks.dollars`.

One task: the 300 cells of the shipped spec `financial-advice`, written by one model of a simulator that refuses, breaks off, goes wrong
and repeats itself at stated rates. The bill is the server's own: every request that it answered, whether or not the answer came to
anything, at the price list. Accepted is what one judge of all three takes: the filters of `quality: {filters: [default]}`, and that
nobody has said it before. Nothing is timed.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers import ENVIRONMENTS, HERE, PEERS, VOCABULARY, Peer, install, last_line
from convoforge.models import Conversation, Turn, Usage
from convoforge.planning.plan import Plan, make_plan, with_format_instructions
from convoforge.planning.spec import DatasetSpec, change_spec
from convoforge.planning.templates import Library
from convoforge.pricing import cost, price_of
from convoforge.publish.reading import find_published
from convoforge.scoring import Rubric, ScoringContext, content_hash
from convoforge.settings import ROOT
from convoforge.simulator.client import SimulatorControl

RATES = {"refusal": 0.03, "truncation": 0.03, "prose": 0.02, "faulty": 0.08, "repeated": 0.04, "529": 0.02}
"""Shares of requests: refused, cut off at a limit, no JSON, a fault in what is said, the same words as before, overloaded."""

TASK = ROOT / "configs" / "datasets" / "financial-advice.yaml"
PROGRAMS = {
    "bespokelabs-curator": ("dollars_curator.py", ("defaults", "best", "repaired")),
    "data-designer": ("dollars_designer.py", ("defaults", "best")),
}
"""The program of each peer, and the settings that it knows."""

GOAL = Decimal("0.5")

FREE = {
    "limits": {"max_requests": 10_000_000, "window_seconds": 60, "concurrency": 50},
    "budget": {"run_usd": 100, "dataset_usd": 100, "day_usd": 100},
}
"""What a benchmark changes of the spec that changes no bill."""

BEST: Mapping[str, Any] = {"mode": "batch", "quality": {"min_score": 1, "filters": ["default"]}}
"""What the documentation offers to save money, with the judge's own measure of what is good."""

LEVERS: Mapping[str, Mapping[str, Any]] = {
    "thinking on": {"generation": {"thinking": "adaptive"}},
    "no prompt cache": {"generation": {"caching": False}},
    "online, no message batches": {"mode": "online"},
    "no filters, so no refill of what they reject": {"quality": {"min_score": 1, "filters": []}},
    "no structured answers": {"generation": {"structured": False}},
    "two candidates in each answer": {"generation": {"candidates": 2, "max_tokens": 8192}},
}
"""Each of them alone makes `BEST` dearer, or less."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a run was billed, and what came of it: `made` conversations, of which the judge takes `accepted`."""

    requests: int
    usd: Decimal
    thinking_tokens: int
    made: int
    accepted: int

    @property
    def each(self) -> Decimal:
        """Dollars for each accepted conversation."""
        return self.usd / self.accepted if self.accepted else Decimal("Infinity")


Answers = Iterable[tuple[int, Sequence[Mapping[str, str]]]]
"""The number of a cell, and the turns that were written for it."""


def judge(plan: Plan, rubric: Rubric, answers: Answers) -> tuple[int, int]:
    """How many conversations there are, and how many of them no filter rejects and nobody has said before."""
    made, said = 0, set()
    for number, turns in answers:
        roles = [turn["role"] for turn in turns]
        if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
            continue
        made += 1
        cell, conversation = plan.cells[number], Conversation(tuple(Turn(turn["role"], turn["content"]) for turn in turns))
        context = ScoringContext.of(plan.spec.name, cell, plan.spec.parameters)
        if not rubric.score(conversation, context).quality.results:
            said.add(content_hash(conversation))
    return made, len(said)


def read_bill(control: SimulatorControl) -> tuple[int, Decimal, int]:
    """Requests, dollars and thinking tokens, as the server counts them."""
    total, thought, rows = Decimal(0), 0, control.rows()
    for row in rows:
        if row["billed"]:
            used = row["usage"]
            usage = Usage(
                used["input_tokens"],
                used["output_tokens"],
                cache_read_tokens=used["cache_read_input_tokens"],
                cache_write_5m_tokens=used["ephemeral_5m_input_tokens"],
                cache_write_1h_tokens=used["ephemeral_1h_input_tokens"],
            )
            total += cost(usage, price_of(row["model"], batch=row["batch_id"] is not None))
            thought += used["thinking_tokens"]
    return len(rows), total, thought


@contextmanager
def simulator() -> Iterator[SimulatorControl]:
    """A simulator of a contender's own, with the stated rates: the same for all."""
    from convoforge.simulator.launch import simulator_process

    with simulator_process(latency_ms=20, seed=7, fault_rate=RATES) as url:
        yield SimulatorControl(url)


def merge(spec: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with keys changed, section by section."""
    merged: dict[str, Any] = copy.deepcopy(dict(spec))
    for change in changes:
        for key, value in change.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def write_by_convoforge(spec: Mapping[str, Any], control: SimulatorControl, plan: Plan) -> Answers:
    """Build, and read what was published."""
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-") as folder:
        build(spec, control, Path(folder))
        published = find_published(Path(folder) / "data", spec["name"], simulated=True)
        columns = ("persona", "emotion", "topic", "tier", "messages")
        rows = [
            row
            for split in published.manifest.splits
            for batch in published.read_batches(split, columns)
            for row in batch.to_pylist()
        ]
    numbers = {(cell.persona, cell.emotion, cell.topic, cell.tier): number for number, cell in enumerate(plan.cells)}
    return [
        (numbers[tuple(row[name] for name in columns[:4])], [turn for turn in row["messages"] if turn["role"] != "system"])
        for row in rows
    ]


def write_after_a_loss(spec: Mapping[str, Any], control: SimulatorControl, plan: Plan) -> Answers:
    """What a half-finished build costs that nobody remembers: half of the cells, and then all of them with a new ledger."""
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-") as folder:
        build(spec, control, Path(folder), "--limit", str(len(plan.cells) // 2))
    return write_by_convoforge(spec, control, plan)


def build(spec: Mapping[str, Any], control: SimulatorControl, folder: Path, *options: str) -> None:
    """`convoforge build` in a process of its own, with its data in `folder`."""
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(dict(spec)))
    own = {**os.environ, "CONVOFORGE_DATA_DIR": f"{folder}/data", "ANTHROPIC_BASE_URL": control.url}
    command = [sys.executable, "-m", "convoforge", "build", str(path), "--simulate", "--yes", "--json", *options]
    done = subprocess.run(command, env=own, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"the build failed: {last_line(done)}")


def write_by_peer(peer: Peer, settings: str, control: SimulatorControl, plan: Plan) -> Answers:
    """Hand the same prompts over, with the answer's format told in words, as peers know no `output_config`."""
    asked = [with_format_instructions(plan.prompt(cell, 0), structured=False) for cell in plan.cells]
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-") as home:
        prompts, answers = Path(home) / "prompts.json", Path(home) / "answers.json"
        prompts.write_text(
            json.dumps([{"number": number, "system": one.system, "user": one.user} for number, one in enumerate(asked)])
        )
        own = {"PATH": os.environ["PATH"], "HOME": home, "ANTHROPIC_API_KEY": "sk-simulated", **peer.switches}
        own |= {"ANTHROPIC_BASE_URL": control.url}
        if vocabulary := next(ENVIRONMENTS.glob(VOCABULARY), None):
            own["TIKTOKEN_CACHE_DIR"] = str(vocabulary)
        command = [peer.python, "-I", HERE / PROGRAMS[peer.name][0], prompts, settings, answers]
        done = subprocess.run(command, env=own, cwd=home, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{peer.requirement}, {settings}: it failed: {last_line(done)}", flush=True)
            return []
        return [(one["number"], one["turns"]) for one in json.loads(answers.read_text())]


def show(name: str, bill: Bill, beside: Bill | None = None) -> None:
    """Print one line of the table."""
    more = f"  {bill.each / beside.each:5.2f} ×" if beside else ""
    print(
        f"{name:52} {bill.requests:6,}  ${bill.usd:8.4f}  {bill.thinking_tokens:9,}  {bill.made:5,}  {bill.accepted:5,}  "
        f"${bill.each:.5f}{more}",
        flush=True,
    )


def main() -> bool:
    """Measure, print, and say whether the goal is met."""
    from benchmarks.measuring import servers, verdict

    task = merge(yaml.safe_load(TASK.read_text()), FREE)
    library = Library.at(ROOT / "configs")
    plan = make_plan(DatasetSpec.model_validate(task), library, "simulator")
    rubric = replace(Rubric.of(change_spec(plan.spec, quality={"filters": ["default"]}), library), scorers=())

    def run(write: Any, *arguments: Any) -> Bill:
        with simulator() as control:
            answers = write(*arguments, control, plan)
            return Bill(*read_bill(control), *judge(plan, rubric, answers))

    print(
        f"{len(plan.cells)} cells of {plan.spec.name}, {plan.spec.model}; {', '.join(f'{k} {v:.0%}' for k, v in RATES.items())}"
    )
    print(f"{'':52} {'calls':>6}  {'dollars':>9}  {'thinking':>9}  {'made':>5}  {'taken':>5}  dollars each")
    theirs: dict[str, Bill] = {}
    for peer in filter(install, PEERS):
        for settings in PROGRAMS[peer.name][1]:
            name = f"{peer.requirement}, {settings}"
            bill = run(write_by_peer, peer, settings)
            show(name, bill)
            if bill.accepted:
                theirs[name] = bill
    with servers() as using:
        os.environ["PREFECT_API_URL"] = using.environment["PREFECT_API_URL"]
        defaults = run(write_by_convoforge, task)
        show("convoforge, defaults", defaults)
        best = run(write_by_convoforge, merge(task, BEST))
        show("convoforge, best", best)
        print("\nconvoforge's best, with one lever less")
        for name, change in LEVERS.items():
            show(name, run(write_by_convoforge, merge(task, BEST, change)), best)
        show("begun again without a ledger, half of it made", run(write_after_a_loss, merge(task, BEST)), best)
    print()
    repaired = {name: bill for name, bill in theirs.items() if name.endswith("repaired")}
    for what, peers in (("as released", {**theirs, **dict.fromkeys(repaired)}), ("repaired by us", repaired)):
        found = {name: bill.each for name, bill in peers.items() if bill}
        if not found:
            return verdict(f"no peer {what} could be measured", False, "at least one")
        name = min(found, key=lambda name: found[name])
        met = verdict(
            f"{best.each / found[name]:.2f} × the dollars of the best peer {what} ({name})",
            best.each <= GOAL * found[name],
            f"at most {GOAL}",
        )
    return met


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
