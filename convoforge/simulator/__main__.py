"""`python -m convoforge.simulator OPTIONS` runs a simulator until a signal. OPTIONS are `SimulatorOptions` as a JSON object."""

from __future__ import annotations

import json
import sys

from convoforge.errors import ConfigError
from convoforge.simulator.options import SimulatorOptions

if __name__ == "__main__":
    try:
        options = SimulatorOptions(**json.loads(sys.argv[1]))
        from convoforge.simulator.server import serve

        serve(options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
