"""`make up` and `make down` for real: a server, a worker, deployments that run, and nothing left of it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import Done, Simulator
from watching import free_port, prefect_home, wait_for

from convoforge.cli.server import Process
from convoforge.simulator.launch import simulator_process

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class House:
    """Server, worker and deployments on ports and in folders of their own."""

    folder: Path
    environment: dict[str, str]
    port: int
    simulator: Simulator

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def local(self, word: str, **environment: str) -> Done:
        return self._run(["-m", "deployments.local", word], environment)

    def prefect(self, *arguments: str) -> Done:
        return self._run(["-m", "prefect", *arguments], {"PREFECT_API_URL": self.api})

    def ask(self, path: str, **body: Any) -> Any:
        """What the server says to a POST; it sends a caller away while its SQLite is busy, and the caller asks again, as Prefect's own does."""
        request = urllib.request.Request(f"{self.api}{path}", json.dumps(body).encode(), {"content-type": "application/json"})

        def answer() -> list[Any]:
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    return [json.load(response)]
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
                return []

        [said] = wait_for(answer, f"an answer to {path}", 30)
        return said

    def processes(self) -> list[Process]:
        """Server and worker, as they are noted."""
        notes = [json.loads(path.read_text()) for path in sorted((self.folder / "prefect").glob("convoforge-*.json"))]
        return [Process(**(note.get("process") or note)) for note in notes]

    def ledger(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "data" / "ledger.db") as connection:
            return connection.execute(query).fetchall()

    def _run(self, arguments: list[str], environment: dict[str, str]) -> Done:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def house(_own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("house"), free_port()
    with simulator_process(latency_ms=400) as url:
        environment = {
            "PREFECT_HOME": str(prefect_home(folder / "prefect")),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "CONVOFORGE_DATA_DIR": str(folder / "data"),
            "ANTHROPIC_BASE_URL": url,
        }
        made = House(folder, environment, port, Simulator(url))
        yield made
        made.local("down")


def test_down_without_up_says_so(house: House) -> None:
    assert house.local("down") == Done(0, "nothing was running\n", "")


def test_up_makes_a_house_that_builds(house: House) -> None:
    up = house.local("up")
    assert up.code == 0, up.out + up.err
    assert f"Prefect UI  http://127.0.0.1:{house.port}\n" in up.out
    assert "nightly" not in up.out  # there is no key that it could spend with
    names = {one["name"] for one in house.ask("/deployments/filter")}
    assert names == {"build", "nightly", "batch", "shard", "collect", "costs"}
    done = house.prefect("deployment", "run", "build-dataset/build", "-p", "spec=demo", "-p", "simulate=true", "--watch")
    assert done.code == 0, done.out + done.err
    [run] = house.ask("/flow_runs/filter")
    assert (run["name"], run["state"]["name"], run["state"]["message"]) == ("demo", "Completed", "all 60 accepted")
    version = house.folder / "data" / "simulated" / "demo" / "latest"
    assert {path.name.partition("-")[0] for path in version.glob("data/*.parquet")} == {"train", "validation"}


def test_bad_parameters_are_refused_before_a_run_exists(house: House) -> None:
    before = house.ask("/flow_runs/count")
    for parameter in ("simulate=perhaps", "concurrency=5000"):
        done = house.prefect("deployment", "run", "build-dataset/build", "-p", "spec=demo", "-p", parameter)
        assert done.code == 1
        assert parameter.partition("=")[0] in done.out + done.err
    assert house.ask("/flow_runs/count") == before


def test_up_again_starts_nothing_again(house: House) -> None:
    before = house.processes()
    assert [one.runs for one in before] == [True, True]
    assert house.local("up").code == 0
    assert house.processes() == before


def test_up_does_not_take_the_place_of_a_server_that_is_named(house: House) -> None:
    up = house.local("up", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert up.code == 1
    assert up.err.startswith("PREFECT_API_URL=http://127.0.0.1:9/api names a server already")


def test_down_lets_runs_drain_and_leaves_no_process_and_no_port(house: House) -> None:
    spec = (ROOT / "configs" / "datasets" / "demo.yaml").read_text().replace("concurrency: 20", "concurrency: 1")
    slow = house.folder / "slow.yaml"
    slow.write_text(spec.replace("name: demo", "name: slow"))
    before = house.simulator.books()["requests"]
    [build] = house.ask("/deployments/filter", deployments={"name": {"any_": ["build"]}})
    house.ask(f"/deployments/{build['id']}/create_flow_run", parameters={"spec": str(slow), "simulate": True})
    wait_for(lambda: house.simulator.books()["requests"] > before, "calls of the slow run")
    processes = house.processes()
    down = house.local("down")
    assert down.out.splitlines() == ["letting a run drain …", "stopped"]
    assert [one.runs for one in processes] == [False, False]
    assert house.processes() == []
    with pytest.raises(OSError, match="refused"):
        house.ask("/flow_runs/count")
    [(state, message)] = house.ledger("SELECT state, message FROM runs ORDER BY started_at DESC LIMIT 1")
    assert (state, message.partition(";")[0]) == ("partial", "stopped by SIGTERM")
    assert house.ledger("SELECT DISTINCT status FROM generation_logs") == [("succeeded",)]
    assert house.ledger("SELECT count(*) FROM owners") == [(0,)]
