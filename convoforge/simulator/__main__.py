"""`python -m convoforge.simulator`: a simulator until it is told to stop."""

from __future__ import annotations

import sys

from convoforge.errors import ConfigError
from convoforge.simulator.options import parse_arguments


def main() -> None:
    """Read the arguments and serve. A wrong one ends with status 2 and one line."""
    try:
        options = parse_arguments()
        from convoforge.simulator.server import serve

        serve(options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
