"""Several builds of one dataset share one limit in Prefect, and the server counts: no window holds more than was promised."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from support import Project
from watching import wait_for

from benchmarks.rate import Builds, most_in_a_window, rate_spec
from convoforge.rate import Limits
from convoforge.simulator.client import SimulatorControl

Serve = Callable[..., SimulatorControl]


def start(project: Project, server: SimulatorControl, processes: int, spec: dict[str, Any]) -> Builds:
    environment = {**os.environ, **project.environment}
    return Builds(spec, server.url, environment, processes=processes, data_dir=project.data)


def arrivals(server: SimulatorControl) -> list[float]:
    return [row["arrived_monotonic"] for row in server.rows()]


@pytest.mark.parametrize(
    ("processes", "requests", "most", "window"), [(2, 40, 20, 3.0), pytest.param(4, 300, 50, 10.0, marks=pytest.mark.long)]
)
def test_builds_that_share_a_limit_keep_its_promise(
    building: Project, serve: Serve, processes: int, requests: int, most: int, window: float
) -> None:
    server = serve(latency_ms=50)
    with start(building, server, processes, rate_spec(requests, most, window)) as builds:
        builds.finish()
    assert len(server.rows()) == requests
    assert most_in_a_window(arrivals(server), window) <= most
    assert {row["status"] for row in server.rows()} == {200}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["input_tokens", "output_tokens"])
def test_four_builds_keep_the_promise_of_a_token_limit(building: Project, serve: Serve, kind: str) -> None:
    window, most = 20.0, 60_000
    server = serve(latency_ms=200)
    with start(building, server, 4, rate_spec(160, 100_000, window, **{kind: most})) as builds:
        builds.finish()
    rows = server.rows()
    assert len(rows) == 160
    # every answer comes 200 ms after its request, so windows of requests are windows of answers
    weighed = [(row["arrived_monotonic"], row["usage"][kind]) for row in rows]
    fullest = max(sum(used for at, used in weighed if since <= at < since + window) for since, _ in weighed)
    assert fullest <= most
    # and it is this limit that they kept: they needed the time for it that it takes
    size, rate = Limits(100_000, window, **{kind: most}).bucket("input-tokens" if kind == "input_tokens" else "output-tokens")
    assert weighed[-1][0] - weighed[0][0] >= (sum(used for _, used in weighed[:-10]) - size) / rate


@pytest.mark.long
def test_a_429_in_one_build_stops_all_four_for_as_long_as_it_says(building: Project, serve: Serve) -> None:
    server = serve(latency_ms=200)
    with start(building, server, 4, rate_spec(400, 600, 60.0)) as builds:
        wait_for(lambda: len(builds.at_work()) == 4, "four builds at work", 120)
        server.script({"kind": "429", "retry_after": 5})
        wait_for(lambda: any(row["status"] == 429 for row in server.rows()), "a 429", 30)
        builds.finish()
    rows = server.rows()
    [refused] = [row["arrived_monotonic"] for row in rows if row["status"] == 429]
    told_at = refused  # an error has no latency
    # what was let through when the answer came is on its way for a moment
    paused = [at - told_at for at in arrivals(server) if told_at + 1.0 < at < told_at + 5.0]
    assert paused == []
    assert len([at for at in arrivals(server) if at >= told_at + 5.0]) > 50
    assert most_in_a_window(arrivals(server), 60.0) <= 600
