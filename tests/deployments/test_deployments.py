"""Every deployment can be loaded by a worker that has nothing but the installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())


@pytest.mark.parametrize("deployment", FILE["deployments"], ids=lambda one: one["name"])
def test_the_entrypoint_loads_and_takes_the_parameters(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    from prefect.flows import load_flow_from_entrypoint

    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    parameters = {"spec": "demo", **deployment["parameters"]}
    assert flow.validate_parameters(parameters).keys() >= parameters.keys()
    assert deployment["work_pool"]["name"] == "convoforge"


def test_the_schedule_never_refreshes_and_runs_once_at_a_time() -> None:
    (nightly,) = [one for one in FILE["deployments"] if one.get("schedules")]
    assert not nightly["parameters"].get("refresh")
    assert nightly["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
