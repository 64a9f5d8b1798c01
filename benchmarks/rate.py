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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import yaml

from convoforge.rate import Limits
from convoforge.simulator.client import SimulatorControl

REQUESTS, MOST, WINDOW_SECONDS = 600, 50, 10.0
USE_FLOOR, SHARE_FLOOR = 0.98, 0.15


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


class Builds:
    """Builds of one dataset in so many processes at once; ended at the end of the `with` block. `environment` is all of theirs."""

    def __init__(
        self, spec: Mapping[str, Any], simulator: str, environment: Mapping[str, str], *, processes: int, data_dir: Path
    ) -> None:
        data_dir.mkdir(exist_ok=True)
        self._ledger = data_dir / "ledger.db"
        path = data_dir / "rate.yaml"
        path.write_text(yaml.safe_dump(dict(spec)))
        settings = {**environment, "ANTHROPIC_BASE_URL": simulator, "CONVOFORGE_DATA_DIR": str(data_dir)}
        self._processes = [
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for build in self._processes:
            build.kill()
            build.communicate()

    def finish(self) -> None:
        """Wait for the ends. Raises where a build fails."""
        for build in self._processes:
            out, err = build.communicate()
            if build.returncode not in (0, 3):  # 3: some scored too low, and the cell has no draw left
                raise RuntimeError(f"a build ended with {build.returncode}:\n{out}\n{err}")

    def at_work(self) -> list[datetime]:
        """When each process began its first call, those that have."""
        return sorted(min(times) for times in self._sent().values())

    def least_share(self) -> float:
        """The share of the process that got least, from when all were at work until nothing was left."""
        if len(self.at_work()) < len(self._processes):
            return 0.0
        since = self.at_work()[-1]
        shares = [sum(at >= since for at in times) for times in self._sent().values()]
        return min(shares) / sum(shares)

    def _sent(self) -> Mapping[str, Sequence[datetime]]:
        sent: dict[str, list[datetime]] = {}
        if self._ledger.exists():
            with suppress(sqlite3.OperationalError), sqlite3.connect(self._ledger) as ledger:  # its tables may not be made yet
                for owner, at in ledger.execute("SELECT owner, started_at FROM generation_logs"):
                    sent.setdefault(owner, []).append(datetime.fromisoformat(at))
        return sent


def measure_rate(simulator: str, environment: Mapping[str, str], data_dir: Path) -> RateUse:
    """Build one dataset in four processes at once. `environment` names the Prefect server. Raises where a build fails."""
    limits = Limits(MOST, WINDOW_SECONDS)
    spec = rate_spec(REQUESTS, limits.max_requests, limits.window_seconds)
    with Builds(spec, simulator, {**os.environ, **environment}, processes=4, data_dir=data_dir) as builds:
        builds.finish()
    rows = SimulatorControl(simulator).rows()
    arrivals = [row["arrived_monotonic"] for row in rows]
    steady = [at for at in arrivals if at >= arrivals[0] + limits.window_seconds]
    _, rate = limits.bucket("requests")
    return RateUse(
        requests=len(arrivals),
        allowed=limits.max_requests,
        most=most_in_a_window(arrivals, limits.window_seconds),
        used=(len(steady) - 1) / (rate * (steady[-1] - steady[0])),
        least_share=builds.least_share(),
        refused=sum(row["status"] == 429 for row in rows),
    )


def main() -> bool:
    """Print what four processes make of one limit, and say whether every number is met."""
    from benchmarks.measuring import servers, verdict

    print(
        f"{REQUESTS} requests of four builds that share a limit of {MOST} in any {WINDOW_SECONDS:g} s; about two and a half minutes …",
        flush=True,
    )
    with servers() as using, tempfile.TemporaryDirectory() as folder:
        environment = {"PREFECT_API_URL": using.environment["PREFECT_API_URL"]}
        found = measure_rate(using.environment["ANTHROPIC_BASE_URL"], environment, Path(folder))
    verdicts = [
        verdict(
            f"most in a window, of {found.requests} requests  {found.most}",
            found.most <= found.allowed,
            f"at most {found.allowed}",
        ),
        verdict(f"use of the steady rate  {found.used:.1%}", found.used >= USE_FLOOR, f"at least {USE_FLOOR:.0%}"),
        verdict(f"least share of four  {found.least_share:.1%}", found.least_share >= SHARE_FLOOR, f"at least {SHARE_FLOOR:.0%}"),
        verdict(f"answers of 429  {found.refused}", not found.refused, "none"),
    ]
    return all(verdicts)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
