"""What a simulator can be told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from convoforge.errors import ConfigError
from convoforge.simulator.faults import known_kind

DAY_SECONDS = 86_400
"""A batch expires after so long: none takes longer."""


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """Where a simulator listens and how it behaves. Raises ConfigError for values that cannot work.

    `port` 0 picks a free one. An answer takes `latency_ms` ± `jitter_ms` milliseconds. Limits hold per API key and model; None is
    unlimited. A batch takes `batch_seconds`; with 0, until it is first looked at.
    From `batch_unknown_after` seconds after its making it is answered 404, though it is there, for `batch_unknown_seconds`; as are its
    results for `batch_results_late_seconds` after its end. `fault_rate` maps kinds of faults to their share
    of requests. `inference_geo` is where answers say they were made (else `global`).
    `until_stdin_closes` ends the simulator when whoever holds the other end of its standard input is gone.
    """

    host: str = "127.0.0.1"
    port: int = 0
    latency_ms: float = 0
    jitter_ms: float = 0
    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    batch_seconds: float = 0
    batch_unknown_after: float = 0
    batch_unknown_seconds: float = 0
    batch_results_late_seconds: float = 0
    seed: int = 0
    fault_rate: Mapping[str, float] = field(default_factory=dict)
    inference_geo: str | None = None
    until_stdin_closes: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port {self.port} does not exist: choose 0 (any free one) to 65535.")
        for name in ("latency_ms", "jitter_ms"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 or more milliseconds.")
        for name in ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ConfigError(f"{name} is {limit}: give 1 or more, or leave it out for no limit.")
        for name in ("batch_seconds", "batch_unknown_after", "batch_unknown_seconds", "batch_results_late_seconds"):
            if not 0 <= getattr(self, name) <= DAY_SECONDS:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 to {DAY_SECONDS} seconds, which is a day.")
        for kind, rate in self.fault_rate.items():
            known_kind(kind)
            if not 0 <= rate <= 1:
                raise ConfigError(f"the rate of fault '{kind}' is {rate}: give a share from 0 to 1.")
        if sum(self.fault_rate.values()) > 1:
            raise ConfigError(f"the fault rates add up to {sum(self.fault_rate.values()):g}: at most 1 is possible.")

    def arguments(self) -> list[str]:
        """The same options as arguments of `python -m convoforge.simulator`."""
        out = []
        for option in fields(self):
            value, flag = getattr(self, option.name), "--" + option.name.replace("_", "-")
            if option.name == "fault_rate":
                out += [flag, ",".join(f"{kind}={rate}" for kind, rate in value.items())] if value else []
            elif isinstance(value, bool):
                out += [flag] if value else []
            elif value is not None:
                out += [flag, str(value)]
        return out


def parse_fault_rate(text: str) -> dict[str, float]:
    """`529=0.05,reset=0.01` as a mapping. Raises ConfigError where it cannot be read."""
    rates = {}
    for part in filter(None, text.split(",")):
        kind, _, rate = part.partition("=")
        try:
            rates[kind.strip()] = float(rate)
        except ValueError:
            raise ConfigError(f"cannot read the fault rate '{part}': write KIND=SHARE, for example 529=0.05.") from None
    return rates
