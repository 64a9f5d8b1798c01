"""Publishing starts a training: the event of a new version, the deployment's trigger, a worker that trains. All of it for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from posing import posing_as_the_api
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from support import Project
from training import make_model
from watching import free_port, prefect_home, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_new_version_is_trained_on_and_nothing_new_trains_nothing(project: Project, simulator_url: str) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`, which `make test-long` installs")
    project.spec("real", quality={"min_score": 1})
    home, port = prefect_home(project.folder / "prefect"), free_port()
    with posing_as_the_api(simulator_url) as url:
        environment = {
            **project.environment,
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "ANTHROPIC_API_KEY": "sk-of-nobody",
            "ANTHROPIC_BASE_URL": url,
            "CONVOFORGE_BASE_MODEL": str(make_model(project.folder / "model")),
        }

        def local(*arguments: str) -> str:
            everything = {**os.environ, **environment}
            done = subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, env=everything, capture_output=True, text=True, timeout=400, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        local("-m", "deployments.local", "up")
        try:
            auth = (home / "convoforge-server.auth").read_text().strip()
            with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api", PREFECT_API_AUTH_STRING: auth}):
                report = json.loads(local("-m", "convoforge", "build", "real", "--yes", "--json").splitlines()[-1])
                assert (report["state"], report["provider"], report["version"]) == ("completed", "anthropic", 1)
                [run] = wait_for(lambda: trainings(final=True), "the end of a training", 400)
                assert run.parameters == {"dataset": report["path"]}
                assert run.state.name == "Completed", run.state.message
                adapter = project.data / "adapters" / "real" / "v0001"
                assert run.state.message.endswith(f": {adapter}")
                record = json.loads((adapter / "training.json").read_text())
                assert (record["dataset"], record["version"], record["provider"]) == ("real", 1, "anthropic")
                assert (adapter / "adapter_model.safetensors").is_file()
                again = json.loads(local("-m", "convoforge", "build", "real", "--yes", "--json").splitlines()[-1])
                assert (again["version"], again["generated"]) == (1, 0)
                assert len(trainings()) == 1
        finally:
            local("-m", "deployments.local", "down")


def trainings(*, final: bool = False) -> list[Any]:
    """The runs of the training's flow; with `final`, those that have ended."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        flow = [one for one in runs if client.read_flow(one.flow_id).name == "train-lora"]
    return [one for one in flow if one.state is not None and (one.state.is_final() or not final)]
