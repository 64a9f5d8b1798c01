"""The whole pipeline against the SDK in a bare loop, on one simulator process, in one run. Figures are ratios or CPU.

Everything is on in the pipeline: Prefect server, rate limiter, ledger, scoring, Parquet. The bare loop sends the same prompts with the
SDK's aiohttp backend and keeps nothing. Each measurement has a process of its own, which does a few of the same before it is timed:
neither side is charged for its imports. A machine's speed cancels out of the ratio; CPU per conversation is the marginal one,
(CPU at 10,000 − CPU at 2,000) / 8,000.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measuring import AT_ONCE, LATENCY_MS, Servers, in_child, servers, spec, usage, verdict

WARM, SMALL, LARGE = 40, 2_000, 10_000
ROUNDS = 4
"""Both sides by turns, and the best of each: a shared machine is now and then half as fast for a while."""

SETTLE_SECONDS = 5.0
"""The Prefect server writes a run's events down after it, and sends who comes meanwhile away for 2 s (a busy SQLite)."""

RATE_FLOOR, CPU_CEILING_MS, MEMORY_CEILING = 0.6, 2.6, 1.25


def bare(count: int) -> dict[str, float]:
    """The SDK in a loop: the limit."""
    import anthropic

    from convoforge.claude import SIMULATOR_KEY
    from convoforge.parsing import ANSWER_SCHEMA
    from convoforge.planning.plan import make_plan
    from convoforge.planning.spec import DatasetSpec
    from convoforge.planning.templates import Library
    from convoforge.settings import ROOT

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
                    thinking={"type": "between_tools"},  # as a build says it: what is thought would be written, too
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

    from convoforge.flows.build_dataset import build_dataset
    from convoforge.orchestration.event_loop import run_build
    from convoforge.planning.options import BuildOptions

    async def build(conversations: int) -> float:
        path = Path(os.environ["BENCH_FOLDER"]) / f"{conversations}.yaml"
        path.write_text(yaml.safe_dump(spec(conversations)))
        begun = time.perf_counter()
        state = await build_dataset(spec=str(path), options=BuildOptions(simulate=True), return_state=True)
        seconds = time.perf_counter() - begun
        report: Any = await get_state_result(state, raise_on_failure=False)
        if isinstance(report, BaseException):
            raise report
        if report.generated != conversations or report.version is None:
            raise SystemExit(f"expected {conversations} generated and published: {report}")
        return seconds

    gc.set_threshold(20_000, 50, 100)  # as the command does
    run_build(build(WARM))
    time.sleep(SETTLE_SECONDS)
    return {"seconds": run_build(build(count)), **usage(), **tenths(count)}


def tenths(count: int) -> dict[str, float]:
    """Conversations a second in the first and the last tenth of a build, from the ledger: when they were kept."""
    import sqlite3

    with sqlite3.connect(Path(os.environ["CONVOFORGE_DATA_DIR"]) / "ledger.db") as ledger:
        query = "SELECT 86400 * julianday(finished_at) FROM generation_logs ORDER BY finished_at"
        at = [row[0] for row in ledger.execute(query)][WARM:]
    size = count // 10
    # what begins and ends is no steady flow: the first calls are a burst, the last ones leave places empty
    first, last = at[AT_ONCE : AT_ONCE + size], at[-AT_ONCE - size : -AT_ONCE]
    return {"first_tenth": (size - 1) / (first[-1] - first[0]), "last_tenth": (size - 1) / (last[-1] - last[0])}


def measure(kind: str, count: int, using: Servers) -> dict[str, float]:
    """One measurement in a fresh process, with the CPU that the simulator spent on it."""
    before = using.simulator_cpu
    measured = in_child("benchmarks.pipeline", kind, count, environment=using.environment)
    measured |= {"server_cpu": using.simulator_cpu - before, "rate": count / measured["seconds"]}
    print(
        f"{kind:9} {count:7,}  {measured['rate']:5.0f}/s  {measured['seconds']:6.1f} s  "
        f"CPU {measured['cpu']:6.1f} s  peak {measured['peak_mb']:4.0f} MB  simulator's CPU {measured['server_cpu']:5.1f} s",
        flush=True,
    )
    return measured


def main() -> bool:
    """Measure, print, and say whether every number is met."""
    print(f"{SMALL:,} and {LARGE:,} conversations, {LATENCY_MS} ms, {AT_ONCE} at once; about three minutes …", flush=True)
    found: dict[tuple[str, int], dict[str, float]] = {}
    with servers() as using:
        for kind, count in (*ROUNDS * (("bare", SMALL), ("pipeline", SMALL)), ("pipeline", LARGE)):
            measured = measure(kind, count, using)
            best = found.get((kind, count))
            if best is None or measured["seconds"] < best["seconds"]:
                found[kind, count] = measured
    small, large, limit = found["pipeline", SMALL], found["pipeline", LARGE], found["bare", SMALL]
    ratio = small["rate"] / limit["rate"]
    cpu_ms = (large["cpu"] - small["cpu"]) / (LARGE - SMALL) * 1000
    memory = large["peak_mb"] / small["peak_mb"]
    verdicts = [
        verdict(f"rate against the bare loop  {ratio:.2f} ×", ratio >= RATE_FLOOR, f"at least {RATE_FLOOR}"),
        verdict(f"marginal CPU  {cpu_ms:.2f} ms", cpu_ms <= CPU_CEILING_MS, f"at most {CPU_CEILING_MS}"),
        verdict(f"peak memory, {LARGE:,}/{SMALL:,}  {memory:.2f} ×", memory <= MEMORY_CEILING, f"at most {MEMORY_CEILING}"),
    ]
    return all(verdicts)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps({"bare": bare, "pipeline": pipeline}[sys.argv[1]](int(sys.argv[2]))))
    else:
        sys.exit(0 if main() else 1)
