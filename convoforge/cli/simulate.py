"""`convoforge simulate`: the simulator alone, in the foreground, for whatever should talk to it instead of to the API."""

from __future__ import annotations

import signal
import threading

from convoforge.claude import SIMULATOR_KEY
from convoforge.cli import DONE
from convoforge.cli.console import out
from convoforge.simulator.launch import simulator_process
from convoforge.simulator.options import parse_fault_rate


def run_simulate(
    *, port: int, latency_ms: float, requests_per_minute: int | None, batch_seconds: float, fault_rate: str, seed: int
) -> int:
    """Run a simulator until Ctrl-C or SIGTERM. Raises `ConfigError` for options that cannot work."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopped.set())
    with simulator_process(
        port=port,
        latency_ms=latency_ms,
        requests_per_minute=requests_per_minute,
        batch_seconds=batch_seconds,
        fault_rate=parse_fault_rate(fault_rate),
        seed=seed,
    ) as url:
        out.print(f"A simulator listens on {url}. Ctrl-C stops it. To use it:")
        out.print(f"\n  export ANTHROPIC_BASE_URL={url}\n  export ANTHROPIC_API_KEY={SIMULATOR_KEY}")
        out.print("  convoforge build demo --simulate")
        stopped.wait()
    return DONE
