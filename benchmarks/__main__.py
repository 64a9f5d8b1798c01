"""`make bench`: every measurement, one after another. `python -m benchmarks pipeline rate` makes some of them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from benchmarks import costs, filtering, near_duplicates, pipeline, rate, scale, workers
from benchmarks.measuring import machine

PARTS = {
    "pipeline": pipeline.main,
    "rate": rate.main,
    "workers": workers.main,
    "costs": costs.main,
    "near_duplicates": near_duplicates.main,
    "scale": scale.main,
    "filtering": filtering.main,
}


def main() -> None:
    """Measure, print, and fail where a number is missed."""
    chosen = sys.argv[1:] or [*PARTS]
    if unknown := [name for name in chosen if name not in PARTS]:
        sys.exit(f"no benchmark is called {', '.join(unknown)}: there are {', '.join(PARTS)}")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}")
    met = []
    for name in chosen:
        print(f"\n{name}", flush=True)
        met.append(PARTS[name]())
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
