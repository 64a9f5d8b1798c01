"""Throughput by workers: one build, joined by 1, 2 and 4 runs of a work pool, beside a build that generates by itself.

A worker's run takes some ten seconds to start, in which the build generates alone: that is part of what is measured, from the first call
to the last answer, as the ledger has them.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from benchmarks.measuring import servers, spec
from convoforge.settings import ROOT

COUNT, WORKERS = 4_000, (0, 1, 2, 4)
POOL = "convoforge"


def main() -> bool:
    """Measure and print. There is no number to meet: the processes of one machine share its cores."""
    print(f"{COUNT:,} conversations by workers of a pool on this machine; about three minutes …", flush=True)
    with servers() as using, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="convoforge-bench-")))
        for workers in WORKERS:
            data = folder / f"data-{workers}"
            environment = {**os.environ, **using.environment, "CONVOFORGE_DATA_DIR": str(data)}
            if workers:
                with _pool(workers, environment):
                    rate = _build(folder, workers, environment)
            else:
                rate = _build(folder, workers, environment)
            print(f"{f'{workers} workers' if workers else 'no workers':12} {rate:5.0f}/s", flush=True)
    return True


def _build(folder: Path, workers: int, environment: Mapping[str, str]) -> float:
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(spec(COUNT)))
    options = ["--workers", str(workers)] if workers else []
    command = [sys.executable, "-m", "convoforge", "build", str(path), "--simulate", "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1]) if done.returncode in (0, 3) else {}
    if found.get("generated") != COUNT:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    with sqlite3.connect(Path(environment["CONVOFORGE_DATA_DIR"]) / "ledger.db") as ledger:
        query = "SELECT 86400 * (julianday(max(finished_at)) - julianday(min(started_at))) FROM generation_logs"
        [(seconds,)] = ledger.execute(query).fetchall()
    return COUNT / float(seconds)


@contextmanager
def _pool(workers: int, environment: Mapping[str, str]) -> Iterator[None]:
    """The work pool with so many workers, each of one run at a time."""
    prefect = [sys.executable, "-m", "prefect"]
    for command in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--name", "worker", "--prefect-file", "deployments/prefect.yaml"],
    ):
        subprocess.run([*prefect, *command], cwd=ROOT, env=environment, capture_output=True, check=True)
    started = [
        subprocess.Popen(
            [*prefect, "worker", "start", "--pool", POOL, "--limit", "1", "--name", f"w{number}"],
            cwd=ROOT,
            env={**environment, "PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(workers)
    ]
    try:
        yield
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait(timeout=60)


if __name__ == "__main__":
    main()
