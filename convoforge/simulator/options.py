"""Options of a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from convoforge.errors import ConfigError
from convoforge.simulator.faults import check_kind

DAY_SECONDS = 86_400
"""Maximum seconds that a message batch takes."""


def _number(default: float | None, low: float = 0, high: float | None = None) -> Any:
    """A numeric field with its allowed range."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """Where a simulator listens and how it behaves. Raises ConfigError for invalid values.

    `port` 0 picks a free port. Answers take `latency_ms` ± `jitter_ms`. Limits apply per API key and model; None means unlimited.
    A message batch takes `batch_seconds`; for its first `batch_unknown_seconds` it is listed but not found, and its results are
    available `batch_results_late_seconds` after its end. `fault_rate` maps kinds of faults to their share of requests.
    """

    host: str = "127.0.0.1"
    port: int = _number(0, high=65535)
    latency_ms: float = _number(0)
    jitter_ms: float = _number(0)
    requests_per_minute: int | None = _number(None, low=1)
    input_tokens_per_minute: int | None = _number(None, low=1)
    output_tokens_per_minute: int | None = _number(None, low=1)
    batch_seconds: float = _number(0, high=DAY_SECONDS)
    batch_unknown_seconds: float = _number(0, high=DAY_SECONDS)
    batch_results_late_seconds: float = _number(0, high=DAY_SECONDS)
    seed: int = 0
    fault_rate: Mapping[str, float] = field(default_factory=dict)
    until_stdin_closes: bool = False

    def __post_init__(self) -> None:
        for option in fields(self):
            value, low, high = getattr(self, option.name), option.metadata.get("low", 0), option.metadata.get("high")
            if value is not None and option.metadata and not low <= value <= (high or value):
                raise ConfigError(f"{option.name} is {value}: give {low} {f'to {high}' if high else 'or more'}.")
        for kind, rate in self.fault_rate.items():
            check_kind(kind)
            if not 0 <= rate <= 1:
                raise ConfigError(f"the rate of fault '{kind}' is {rate}: give a share from 0 to 1.")
        if sum(self.fault_rate.values()) > 1:
            raise ConfigError(f"the fault rates add up to {sum(self.fault_rate.values()):g}: at most 1 is possible.")


def parse_fault_rate(text: str) -> dict[str, float]:
    """Parse `529=0.05,reset=0.01` into a mapping. Raises ConfigError if it cannot."""
    rates = {}
    for part in filter(None, text.split(",")):
        kind, _, rate = part.partition("=")
        try:
            rates[kind.strip()] = float(rate)
        except ValueError:
            raise ConfigError(f"cannot read the fault rate '{part}': write KIND=SHARE, for example 529=0.05.") from None
    return rates
