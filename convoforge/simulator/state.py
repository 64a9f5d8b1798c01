"""State since the last reset, shared by online requests and message batches."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from convoforge.simulator.caching import SimulatedCache
from convoforge.simulator.faults import Fault, FaultRates, Script
from convoforge.simulator.options import SimulatorOptions
from convoforge.simulator.rates import Rates
from convoforge.simulator.reading import ParsedRequest
from convoforge.simulator.usage import UsageLog


@dataclass(slots=True)
class SimulatorState:
    """The state of a simulator. `clock` and `wall` give seconds: on a monotonic clock, and since 1970.

    `usage_fields` are added to the usage of every answer, `model_fields` by model to `GET /v1/models/{id}`.
    """

    options: SimulatorOptions
    clock: Callable[[], float]
    wall: Callable[[], float]
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    script: Script = field(default_factory=Script)
    cache: SimulatedCache = field(default_factory=SimulatedCache)
    usage_fields: dict[str, Any] = field(default_factory=dict)
    model_fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    usage: UsageLog = field(init=False)
    fault_rates: FaultRates = field(init=False)
    rates: Rates = field(init=False)
    jitter: random.Random = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        self.usage = UsageLog(self.run, self.wall() - self.clock())
        self.fault_rates = FaultRates(options.fault_rate, options.seed)
        limits = (options.requests_per_minute, options.input_tokens_per_minute, options.output_tokens_per_minute)
        self.rates = Rates(limits, self.wall)
        self.jitter = random.Random(options.seed)

    def draw_fault(self, asked: ParsedRequest) -> Fault:
        """The fault for a request: the next scripted one, or a random one."""
        return self.script.take(asked.prompt) or self.fault_rates.draw(asked.key)

    async def wait_latency(self, arrived: float) -> None:
        """Wait until the answer to a call that arrived at `arrived` is due."""
        options = self.options
        if options.latency_ms or options.jitter_ms:
            latency = options.latency_ms + options.jitter_ms * (2 * self.jitter.random() - 1)
            await asyncio.sleep(max(0.0, arrived + latency / 1000 - self.clock()))
