"""What a simulator can be told when it starts, in Python and as arguments of `python -m convoforge.simulator`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from convoforge.errors import ConfigError
from convoforge.simulator.faults import KINDS, check_kind

DAY_SECONDS = 86_400
"""Maximum seconds that a message batch takes."""


def _option(default: Any, what: str, low: float | None = None, high: float | None = None, *, kind: Any = float) -> Any:
    """A field with its help text, its type as an argument, and the numbers that are allowed."""
    return field(default=default, metadata={"help": what, "type": kind, "low": low, "high": high})


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """Where a simulator listens and how it behaves. Raises ConfigError for values that cannot work.

    Limits hold per API key and model; None is unlimited. `fault_rate` maps kinds of faults to their share of requests.
    """

    host: str = _option("127.0.0.1", "address to listen on", kind=str)
    port: int = _option(0, "port to listen on; 0 picks a free one, which is printed", 0, 65535, kind=int)
    latency_ms: float = _option(0, "milliseconds to each answer", 0)
    jitter_ms: float = _option(0, "maximum milliseconds more or less than that", 0)
    requests_per_minute: int | None = _option(None, "limit of requests", 1, kind=int)
    input_tokens_per_minute: int | None = _option(None, "limit of input tokens", 1, kind=int)
    output_tokens_per_minute: int | None = _option(None, "limit of output tokens", 1, kind=int)
    batch_seconds: float = _option(0, "seconds to the end of a message batch; 0: until the first look at it", 0, DAY_SECONDS)
    batch_unknown_seconds: float = _option(0, "seconds for which a new message batch is listed but not found", 0, DAY_SECONDS)
    batch_results_late_seconds: float = _option(0, "seconds from the end of a message batch to its results", 0, DAY_SECONDS)
    seed: int = _option(0, "seed of conversations and random faults", kind=int)
    fault_rate: Mapping[str, float] = field(default_factory=dict)
    until_stdin_closes: bool = False

    def __post_init__(self) -> None:
        for option in fields(self):
            value, low, high = getattr(self, option.name), option.metadata.get("low"), option.metadata.get("high")
            if value is not None and low is not None and not low <= value <= (high or float("inf")):
                raise ConfigError(f"{option.name} is {value}: give {low} {f'to {high}' if high else 'or more'}.")
        for kind, rate in self.fault_rate.items():
            check_kind(kind)
            if not 0 <= rate <= 1:
                raise ConfigError(f"the rate of fault '{kind}' is {rate}: give a share from 0 to 1.")
        if sum(self.fault_rate.values()) > 1:
            raise ConfigError(f"the fault rates add up to {sum(self.fault_rate.values()):g}: at most 1 is possible.")

    def to_arguments(self) -> list[str]:
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


def parse_arguments(arguments: Sequence[str] | None = None) -> SimulatorOptions:
    """The options in the arguments of a process. Raises ConfigError for values that cannot work."""
    parser = argparse.ArgumentParser(prog="python -m convoforge.simulator", description="A simulator until it is stopped.")
    for option in fields(SimulatorOptions):
        if option.metadata:
            flag = "--" + option.name.replace("_", "-")
            parser.add_argument(flag, type=option.metadata["type"], default=option.default, help=option.metadata["help"])
    parser.add_argument("--fault-rate", default="", metavar="KIND=SHARE,…", help=f"random faults: {', '.join(KINDS[1:])}")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the other side of standard input is gone")
    given = vars(parser.parse_args(arguments))
    return SimulatorOptions(**{**given, "fault_rate": parse_fault_rate(given["fault_rate"])})


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
