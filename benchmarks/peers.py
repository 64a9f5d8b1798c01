"""The pipeline against other libraries: the same conversations from the same simulator process, in one run. `python -m benchmarks.peers`

Each peer lives in an environment of its own under `benchmarks/.peers`, installed with pip when it is first needed; one that cannot be
installed or run is left out, and said to be. A peer gets everything that makes it fast: as many calls at once as the pipeline, no rate
limits, nothing cached, no progress display. CPU is that of the whole process with its imports and warm-up, on every side; the
pipeline's Prefect server is beside it, as the simulator is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import pipeline
from benchmarks.measuring import AT_ONCE, LATENCY_MS, Servers, servers, spec, verdict

COUNTS, RUNS = {2_000: 1.2, 10_000: 1.4}, 2
"""Conversations, with the least ratio to the best peer."""

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE / ".peers"
VOCABULARY = "bespokelabs-curator/lib/*/site-packages/litellm/litellm_core_utils/tokenizers"
"""Both peers count tokens with tiktoken, which downloads its vocabulary; litellm brings the same file."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library as pip knows it, the program that works with it, and the variables that keep it quiet and off the network."""

    name: str
    version: str
    program: str
    switches: Mapping[str, str] = field(default_factory=dict)

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}=={self.version}"

    @property
    def python(self) -> Path:
        """The interpreter of the peer's environment."""
        return ENVIRONMENTS / self.name / "bin" / "python"


PEERS = (
    Peer(
        "bespokelabs-curator",
        "0.1.31",
        "peer_curator.py",
        {
            "TELEMETRY_ENABLED": "false",
            "CURATOR_DISABLE_CACHE": "true",
            "CURATOR_DISABLE_RICH_DISPLAY": "1",
            "TQDM_DISABLE": "1",
            "HF_HUB_OFFLINE": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
    ),
    Peer("data-designer", "0.9.7", "peer_designer.py", {"NEMO_TELEMETRY_ENABLED": "false", "HF_HUB_OFFLINE": "1"}),
)


def install(peer: Peer) -> bool:
    """Whether the peer's environment is there, made now if it is not."""
    kept = ENVIRONMENTS / peer.name / "installed.txt"  # written last: an installation that was cut off is made again
    if kept.exists() and kept.read_text() == peer.requirement:
        return True
    print(f"installing {peer.requirement}; this takes minutes, once …", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", ENVIRONMENTS / peer.name],
        [peer.python, "-m", "pip", "install", "--quiet", peer.requirement],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"left out: {peer.requirement} cannot be installed: {last_line(done)}", flush=True)
            return False
    kept.write_text(peer.requirement)
    return True


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing a process said, which is where it names its error."""
    return ((done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit {done.returncode}"])[-1]


def prompts(count: int) -> list[dict[str, str]]:
    """What the pipeline sends for `spec(count)`, with the answer's format told in words: peers know no output_config."""
    from convoforge.planning.plan import make_plan, with_format_instructions
    from convoforge.planning.spec import DatasetSpec
    from convoforge.planning.templates import Library
    from convoforge.settings import ROOT

    plan = make_plan(DatasetSpec.model_validate(spec(count)), Library.at(ROOT / "configs"), "simulator")
    asked = [with_format_instructions(plan.prompt(cell, 0), structured=False) for cell in plan.cells]
    return [{"system": prompt.system, "user": prompt.user} for prompt in asked]


def measure(peer: Peer, asked: list[dict[str, str]], using: Servers) -> dict[str, Any] | None:
    """One measurement in a fresh process and a home of its own, or None where not every conversation was made."""
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-") as home:
        path = Path(home) / "prompts.json"
        path.write_text(json.dumps(asked))
        own = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "ANTHROPIC_API_KEY": "sk-simulated",
            **using.environment,
            **peer.switches,
        }
        if vocabulary := next(ENVIRONMENTS.glob(VOCABULARY), None):
            own["TIKTOKEN_CACHE_DIR"] = str(vocabulary)
        # isolated: neither this project nor the modules beside the program can be imported by accident
        command = [peer.python, "-I", HERE / peer.program, path]
        done = subprocess.run(command, env=own, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"not counted: a run of {peer.requirement} failed: {last_line(done)}", flush=True)
        return None
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if measured["made"] != len(asked):
        print(f"not counted: a run of {peer.requirement} made {measured['made']:,} of {len(asked):,} conversations", flush=True)
        return None
    return measured | {"rate": len(asked) / measured["seconds"]}


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest of some runs."""
    return min(runs, key=lambda run: run["seconds"])


def row(name: str, measured: Mapping[str, Any], count: int) -> None:
    """Print one contender's figures."""
    print(
        f"{name:28} {count:7,}  {measured['rate']:5.0f}/s  {measured['seconds']:6.1f} s  "
        f"CPU {measured['cpu'] / count * 1000:5.2f} ms each  peak {measured['peak_mb']:4.0f} MB",
        flush=True,
    )


def compare(peers: Sequence[Peer], count: int, using: Servers) -> bool:
    """Everybody makes `count` conversations, by turns; the best of each. Whether ours is as much faster as it should be."""
    asked, ours = prompts(count), []
    theirs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(RUNS):
        ours.append(pipeline.measure("pipeline", count, using))
        time.sleep(pipeline.SETTLE_SECONDS)  # what the Prefect server still writes is not to slow a peer down
        for peer in peers:
            if measured := measure(peer, asked, using):
                theirs.setdefault(peer.requirement, []).append(measured)
    row("convoforge", best(ours), count)
    fastest = {name: best(runs) for name, runs in theirs.items()}
    for name, measured in fastest.items():
        row(name, measured, count)
    if not fastest:
        return verdict("no peer could be measured", False, "at least one")
    name = max(fastest, key=lambda name: fastest[name]["rate"])
    ratio = best(ours)["rate"] / fastest[name]["rate"]
    missing = [peer.requirement for peer in PEERS if peer.requirement not in fastest]
    without = f", without {' and '.join(missing)}" if missing else ""
    wanted = f"at least {COUNTS[count]}"
    return verdict(f"{count:,}: {ratio:.2f} × the best peer ({name}{without})", ratio >= COUNTS[count], wanted)


def main() -> bool:
    """Measure, print, and say whether the number is met."""
    peers = [peer for peer in PEERS if install(peer)]
    counts = " and ".join(f"{count:,}" for count in COUNTS)
    print(f"{counts} conversations, {LATENCY_MS} ms, {AT_ONCE} at once, best of {RUNS}; about eight minutes …", flush=True)
    with servers() as using:
        met = [compare(peers, count, using) for count in COUNTS]
    return all(met)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
