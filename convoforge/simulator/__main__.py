"""`python -m convoforge.simulator`: a simulator until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from convoforge.errors import ConfigError
from convoforge.simulator.faults import KINDS
from convoforge.simulator.options import SimulatorOptions, parse_fault_rate


def main() -> None:
    """Read the arguments and serve; a wrong one ends with status 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m convoforge.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one, which is printed (default)")
    parser.add_argument("--latency-ms", type=float, default=0, help="how long an answer takes")
    parser.add_argument("--jitter-ms", type=float, default=0, help="at most so much more or less")
    for kind in ("requests", "input-tokens", "output-tokens"):
        parser.add_argument(f"--{kind}-per-minute", type=int, help="limit per API key and model; without it there is none")
    parser.add_argument("--batch-seconds", type=float, default=0, help="how long a batch takes (0: until it is first looked at)")
    parser.add_argument(
        "--batch-unknown-after", type=float, default=0, help="seconds after which a batch is answered 404 for a while"
    )
    parser.add_argument("--batch-unknown-seconds", type=float, default=0, help="how long that goes on")
    parser.add_argument(
        "--batch-results-late-seconds", type=float, default=0, help="how long results are 404 after a batch's end"
    )
    parser.add_argument("--seed", type=int, default=0, help="of conversations and random faults")
    parser.add_argument("--fault-rate", default="", metavar="KIND=SHARE,…", help=f"random faults: {', '.join(KINDS[1:])}")
    parser.add_argument("--inference-geo", help="where answers say they were made, such as us (default: global)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the other side of standard input is gone")
    given = vars(parser.parse_args())
    try:
        options = SimulatorOptions(**{**given, "fault_rate": parse_fault_rate(given["fault_rate"])})
        from convoforge.simulator.server import serve

        serve(options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
