"""A build whose collector hears of it: the run, its shards, their attempts, in one trace with the run's id."""

from __future__ import annotations

import pytest
from collecting import collector
from support import Project

pytest.importorskip("opentelemetry.exporter", reason="the extra otel is not installed")
pytestmark = pytest.mark.long


def test_a_build_is_one_trace(building: Project) -> None:
    building.spec("traced", per_cell=15)
    with collector() as seen:
        done = building.run("build", "traced", "--simulate", "--json", OTEL_EXPORTER_OTLP_ENDPOINT=seen.url)
    assert done.code == 0, done.err
    [run], shards, attempts = seen.named("run traced"), seen.named("shard"), seen.named("chat")
    assert run["trace"] == done.last["run_id"] and {one["trace"] for one in seen.spans} == {run["trace"]}
    assert len(shards) >= 3 and {one["parent"] for one in shards} == {run["id"]}
    assert {one["parent"] for one in attempts} <= {one["id"] for one in shards}
    assert len(attempts) == done.last["generated"] >= 120
    told = sum(one["value"] for one in seen.points["convoforge.cost"])
    assert told == pytest.approx(float(done.last["cost_usd"]))
    assert b"Anxious Investor" not in seen.raw
