"""`convoforge simulate`: the simulator alone, in the foreground, for whatever should talk to it instead of to the API."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from convoforge.cli.console import out
from convoforge.cli.parameters import DONE, Port, Positive
from convoforge.simulator.launch import simulator_process
from convoforge.simulator.options import parse_fault_rate

Span = Parameter(validator=Number(gte=0, lte=86_400_000))


def simulate(
    *,
    port: Port = 0,
    latency_ms: Annotated[float, Span, Parameter(help="Latency of an answer, in milliseconds.")] = 0,
    requests_per_minute: Annotated[int | None, Positive, Parameter(help="Refuse more with 429, per key and model.")] = None,
    batch_seconds: Annotated[float, Span, Parameter(help="Seconds to the end of a message batch.")] = 0,
    fault_rate: Annotated[str, Parameter(help="Random faults and their shares: 529=0.05,reset=0.01,prose=0.02.")] = "",
    seed: Annotated[int, Parameter(help="Seed of conversations and faults.")] = 0,
) -> int:
    """Run a simulator until Ctrl-C or SIGTERM. Raises `ConfigError` for options that cannot work."""
    from convoforge.claude import SIMULATOR_KEY

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
