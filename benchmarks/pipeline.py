"""`make bench`: the whole pipeline against the SDK in a bare loop, on one simulator process, in one run. Figures are ratios or CPU.

Everything is on in the pipeline: Prefect server, rate gate, ledger, scoring, Parquet. The bare loop sends the same prompts with the
SDK's aiohttp backend and keeps nothing. Each measurement has a process of its own, which does a few of the same before it is timed:
neither side is charged for its imports. A machine's speed cancels out of the ratio; CPU per conversation is the marginal one,
(CPU at 10,000 − CPU at 2,000) / 8,000.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

LATENCY_MS, AT_ONCE, WARM, SMALL, LARGE = 200, 200, 40, 2_000, 10_000
SETTLE_SECONDS = 5.0
"""The Prefect server writes a run's events down after it, and sends who comes meanwhile away for 2 s (a busy SQLite)."""

RATE_FLOOR, CPU_CEILING_MS, MEMORY_CEILING = 0.6, 2.5, 1.25


def spec(count: int) -> dict[str, Any]:
    """A spec of `count` cells with the repository's own templates, one draw each."""
    return {
        "name": f"bench-{count}",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {
            "persona": [f"Investor {n}" for n in range(20)],
            "emotion": [f"mood {n}" for n in range(10 if count >= 200 else count // 20)],
            "topic": [f"question {n}" for n in range(max(1, count // 200))],
            "tier": ["template"],
        },
        "max_draws": 1,
        "limits": {"max_requests": 10_000_000, "window_seconds": 60, "concurrency": AT_ONCE},
        "budget": {"run_usd": 100_000},
    }


def usage() -> dict[str, float]:
    """CPU seconds and peak memory (MB) of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return {"cpu": used.ru_utime + used.ru_stime, "peak_mb": peak}


def bare(count: int) -> dict[str, float]:
    """The SDK in a loop: the limit."""
    import anthropic

    from convoforge.claude import SIMULATOR_KEY
    from convoforge.parsing import ANSWER_SCHEMA
    from convoforge.plan import make_plan
    from convoforge.settings import ROOT
    from convoforge.spec import DatasetSpec
    from convoforge.templates import Library

    plan = make_plan(DatasetSpec.model_validate(spec(count)), Library.at(ROOT / "configs"), "simulator")
    prompts = [plan.prompt(cell, 0) for cell in plan.cells]

    async def run() -> float:
        client = anthropic.AsyncAnthropic(
            api_key=SIMULATOR_KEY,
            base_url=os.environ["ANTHROPIC_BASE_URL"],
            max_retries=0,
            http_client=anthropic.DefaultAioHttpClient(),
        )
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with slots:
                prompt = prompts[number]
                await client.messages.create(
                    model=plan.spec.model,
                    max_tokens=4096,
                    system=prompt.system,
                    messages=[{"role": "user", "content": prompt.user}],
                    output_config={"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}},
                )

        await asyncio.gather(*(one(number) for number in range(WARM)))
        begun = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(count)))
        seconds = time.perf_counter() - begun
        await client.close()
        return seconds

    return {"seconds": asyncio.run(run()), **usage()}


def pipeline(count: int) -> dict[str, float]:
    """A build, from an empty ledger to a published version."""
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    from prefect.states import get_state_result

    from flows.build_dataset import build_dataset

    async def build(conversations: int) -> float:
        path = Path(os.environ["BENCH_FOLDER"]) / f"{conversations}.yaml"
        path.write_text(yaml.safe_dump(spec(conversations)))
        begun = time.perf_counter()
        state = await build_dataset(spec=str(path), simulate=True, return_state=True)
        seconds = time.perf_counter() - begun
        report: Any = await get_state_result(state, raise_on_failure=False)
        if isinstance(report, BaseException):
            raise report
        if report.generated != conversations or report.version is None:
            raise SystemExit(f"expected {conversations} generated and published: {report}")
        return seconds

    asyncio.run(build(WARM))
    time.sleep(SETTLE_SECONDS)
    return {"seconds": asyncio.run(build(count)), **usage()}


def in_child(kind: str, count: int, environment: dict[str, str], simulator: psutil.Process) -> dict[str, float]:
    """One measurement in a fresh process, with the CPU that the simulator spent on it."""
    before = sum(simulator.cpu_times()[:2])
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.pipeline", "--child", kind, "--count", str(count)],
            env={**os.environ, **environment, "BENCH_FOLDER": folder, "CONVOFORGE_DATA_DIR": f"{folder}/data"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{kind} at {count} failed:\n{done.stdout}\n{done.stderr}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**measured, "server_cpu": sum(simulator.cpu_times()[:2]) - before, "rate": count / measured["seconds"]}


@contextmanager
def servers() -> Iterator[tuple[dict[str, str], psutil.Process]]:
    """A simulator and a Prefect server, both new, both gone afterwards."""
    from convoforge.cli.server import use_server
    from convoforge.simulator.launch import simulator_process

    with tempfile.TemporaryDirectory(prefix="convoforge-bench-prefect-") as home:
        os.environ.update({"PREFECT_HOME": home, "PREFECT_SERVER_API_PORT": "0"})
        before = set(psutil.Process().children(recursive=True))
        with simulator_process(latency_ms=LATENCY_MS) as url:
            (simulator,) = set(psutil.Process().children(recursive=True)) - before
            with use_server() as server:
                yield {"ANTHROPIC_BASE_URL": url, "PREFECT_API_URL": server.url}, simulator


def main() -> None:
    """Measure, print, and fail where a number is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", choices=["bare", "pipeline"])
    parser.add_argument("--count", type=int, default=SMALL)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps({"bare": bare, "pipeline": pipeline}[arguments.child](arguments.count)))
        return
    print(
        f"{SMALL:,} and {LARGE:,} conversations, {LATENCY_MS} ms, {AT_ONCE} at once; this takes about two minutes …", flush=True
    )
    found = {}
    with servers() as (environment, simulator):
        for kind, count in (("bare", SMALL), ("pipeline", SMALL), ("bare", SMALL), ("pipeline", SMALL), ("pipeline", LARGE)):
            measured = in_child(kind, count, environment, simulator)
            print(_row(kind, count, measured), flush=True)
            best = found.get((kind, count))
            if best is None or measured["seconds"] < best["seconds"]:
                found[kind, count] = measured
    small, large, limit = found["pipeline", SMALL], found["pipeline", LARGE], found["bare", SMALL]
    ratio = small["rate"] / limit["rate"]
    cpu_ms = (large["cpu"] - small["cpu"]) / (LARGE - SMALL) * 1000
    memory = large["peak_mb"] / small["peak_mb"]
    print()
    verdicts = [
        _verdict(f"rate against the bare loop   {ratio:5.2f} ×", ratio >= RATE_FLOOR, f"at least {RATE_FLOOR}"),
        _verdict(f"marginal CPU                 {cpu_ms:5.2f} ms", cpu_ms <= CPU_CEILING_MS, f"at most {CPU_CEILING_MS}"),
        _verdict(f"peak memory, {LARGE:,}/{SMALL:,}  {memory:5.2f} ×", memory <= MEMORY_CEILING, f"at most {MEMORY_CEILING}"),
    ]
    sys.exit(0 if all(verdicts) else 1)


def _row(kind: str, count: int, measured: dict[str, float]) -> str:
    return (
        f"{kind:9} {count:6,}  {measured['rate']:5.0f}/s  {measured['seconds']:6.1f} s  "
        f"CPU {measured['cpu']:5.1f} s  peak {measured['peak_mb']:4.0f} MB  simulator's CPU {measured['server_cpu']:4.1f} s"
    )


def _verdict(text: str, good: bool, wanted: str) -> bool:
    print(f"{text}  ({wanted})  {'ok' if good else 'MISSED'}")
    return good


if __name__ == "__main__":
    main()
