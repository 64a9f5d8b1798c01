"""What every benchmark needs: a spec of any size, servers of its own, a fresh process for each measurement, and a verdict at the end."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

LATENCY_MS, AT_ONCE = 200, 200


@dataclass(frozen=True, slots=True)
class Servers:
    """A simulator and a Prefect server; `environment` is how a process finds both, `prefect_home` where the latter keeps its database."""

    environment: Mapping[str, str]
    simulator: psutil.Process
    prefect_home: Path

    @property
    def simulator_cpu(self) -> float:
        """CPU seconds of the simulator so far."""
        return sum(self.simulator.cpu_times()[:2])

    @property
    def prefect_bytes(self) -> int:
        """The size of Prefect's database on disk."""
        return sum(path.stat().st_size for path in self.prefect_home.glob("prefect.db*"))


def spec(count: int) -> dict[str, Any]:
    """A spec of `count` cells (a multiple of 20) with the repository's own templates, one draw each."""
    moods = min(10, count // 20)
    return {
        "name": f"bench-{count}",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {
            "persona": [f"Investor {n}" for n in range(20)],
            "emotion": [f"mood {n}" for n in range(moods)],
            "topic": [f"question {n}" for n in range(count // (20 * moods))],
            "tier": ["template"],
        },
        "max_draws": 1,
        "generation": {"caching": False},  # neither a bare loop nor a peer keeps anything: all do the same work
        "limits": {"max_requests": 10_000_000, "window_seconds": 60, "concurrency": AT_ONCE},
        "budget": {"run_usd": 100_000},
    }


def usage() -> dict[str, float]:
    """CPU seconds and peak memory (MB) of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return {"cpu": used.ru_utime + used.ru_stime, "peak_mb": peak}


@contextmanager
def servers(latency_ms: int = LATENCY_MS) -> Iterator[Servers]:
    """A simulator and a Prefect server, both new, both gone afterwards."""
    from convoforge.orchestration.local_server import use_server
    from convoforge.orchestration.processes import any_free_port
    from convoforge.simulator.launch import simulator_process

    with tempfile.TemporaryDirectory(prefix="convoforge-bench-prefect-") as home:
        os.environ.update({"PREFECT_HOME": home, "PREFECT_SERVER_API_PORT": str(any_free_port())})
        before = set(psutil.Process().children(recursive=True))
        with simulator_process(latency_ms=latency_ms) as url:
            (simulator,) = set(psutil.Process().children(recursive=True)) - before
            with use_server() as server:
                yield Servers({"ANTHROPIC_BASE_URL": url, "PREFECT_API_URL": server.url}, simulator, Path(home))


def in_child(module: str, *arguments: object, environment: Mapping[str, str] = {}) -> dict[str, Any]:
    """What ``python -m module arguments`` prints as JSON on its last line, measured in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-") as folder:
        own = {**os.environ, **environment, "BENCH_FOLDER": folder, "CONVOFORGE_DATA_DIR": f"{folder}/data"}
        command = [sys.executable, "-m", module, *map(str, arguments)]
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def verdict(text: str, good: bool, wanted: str) -> bool:
    """Print a figure beside what is wanted of it."""
    print(f"{text}  ({wanted})  {'ok' if good else 'MISSED'}", flush=True)
    return good


def machine() -> str:
    """What the figures were measured on, and with."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("prefect", "anthropic", "sqlalchemy", "pyarrow"))
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}, {versions}"
