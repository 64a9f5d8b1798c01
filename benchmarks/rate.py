"""How much of the allowed rate several processes use together, as the server counts it: builds of one dataset, sharing one limit.

Nothing here is the client's belief: arrivals are the simulator's, who sent them is the ledger's.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from convoforge.gate import Limits
from convoforge.simulator.control import Control


@dataclass(frozen=True, slots=True)
class RateUse:
    """What arrived at the server.

    `allowed` is the promise for any window, `most` what the fullest one held; `used` the share of the steady rate that was used from the
    second window on; `least_share` what the process that got least of it got, from when all were at work; `refused` answers of 429.
    """

    requests: int
    allowed: int
    most: int
    used: float
    least_share: float
    refused: int


def most_in_a_window(arrivals: Sequence[float], seconds: float) -> int:
    """The fullest half-open window. `arrivals` are sorted, in seconds."""
    return max(bisect_left(arrivals, arrived + seconds) - index for index, arrived in enumerate(arrivals))


def rate_spec(requests: int, max_requests: int, window_seconds: float, **limits: Any) -> dict[str, Any]:
    """A spec of `requests` conversations that is bound by its rate."""
    return {
        "name": "rate",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {
            "persona": [f"Investor {n}" for n in range(10)],
            "emotion": ["Fear", "Calm"],
            "topic": [f"question {n}" for n in range(requests // 20)],
            "tier": ["template"],
        },
        "max_draws": 1,
        "limits": {"max_requests": max_requests, "window_seconds": window_seconds, "concurrency": 50, **limits},
        "budget": {"run_usd": 1_000},
    }


def measure_rate(
    spec: Mapping[str, Any], simulator: str, environment: Mapping[str, str], *, processes: int = 4, data_dir: Path
) -> RateUse:
    """Build one dataset in several processes at once. `environment` names the Prefect server. Raises where a build fails."""
    limits = Limits(spec["limits"]["max_requests"], spec["limits"]["window_seconds"])
    path = data_dir / "rate.yaml"
    path.write_text(yaml.safe_dump(dict(spec)))
    settings = {**os.environ, **environment, "ANTHROPIC_BASE_URL": simulator, "CONVOFORGE_DATA_DIR": str(data_dir)}
    builds = [
        subprocess.Popen(
            [sys.executable, "-m", "convoforge", "build", str(path), "--simulate", "--json"],
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    ended = [build.communicate() for build in builds]
    for build, (out, err) in zip(builds, ended, strict=True):
        if build.returncode not in (0, 3):  # 3: some scored too low, and the cell has no draw left
            raise RuntimeError(f"a build ended with {build.returncode}:\n{out}\n{err}")
    rows = Control(simulator).rows()
    arrivals = sorted(row["arrived_monotonic"] for row in rows)
    seconds = limits.window_seconds
    steady = [at for at in arrivals if at >= arrivals[0] + seconds]
    _, rate = limits.bucket("requests")
    return RateUse(
        requests=len(arrivals),
        allowed=limits.max_requests,
        most=most_in_a_window(arrivals, seconds),
        used=(len(steady) - 1) / (rate * (steady[-1] - steady[0])),
        least_share=_least_share(data_dir, processes),
        refused=sum(row["status"] == 429 for row in rows),
    )


def _least_share(data_dir: Path, processes: int) -> float:
    with sqlite3.connect(data_dir / "ledger.db") as ledger:
        sent = [
            (owner, datetime.fromisoformat(at)) for owner, at in ledger.execute("SELECT owner, started_at FROM generation_logs")
        ]
    first: dict[str, datetime] = {}
    for owner, at in sorted(sent, key=lambda one: one[1]):
        first.setdefault(owner, at)
    shares = Counter(owner for owner, at in sent if at >= max(first.values()))
    return min(shares.values()) / shares.total() if len(first) == processes else 0.0


def main() -> None:
    """Print what four processes make of one limit."""
    from benchmarks.pipeline import servers

    with servers() as (environment, _), tempfile.TemporaryDirectory() as folder:
        simulator = environment.pop("ANTHROPIC_BASE_URL")
        print(measure_rate(rate_spec(300, 50, 10.0), simulator, environment, data_dir=Path(folder)))


if __name__ == "__main__":
    main()
