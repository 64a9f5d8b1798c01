"""kill -9, at any moment: what was recorded stays, what was in flight is shown, and the dataset comes out the same."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from storm.conftest import AXES, CONCURRENCY, limits, reconcile
from storm.reconciliation import Reconciliation, conversations, latest_is_good
from support import Project
from watching import wait_for

from convoforge.simulator.client import SimulatorControl

StartBuild = Callable[..., subprocess.Popen[str]]

FAULTS = {"529": 0.05, "500": 0.05}
"""Of transport alone: the simulator draws anew for each call, and what became of a call that was killed may be another thing in the
next one. That a conversation has to be drawn again depends on its prompt, and happens without this."""


@dataclass(frozen=True)
class Stage:
    """One build after another of one dataset, in a folder of its own."""

    project: Project
    start: StartBuild
    server: SimulatorControl
    data: Path

    @property
    def reconciliation(self) -> Reconciliation:
        return reconcile(self.data, self.server)

    @property
    def dataset(self) -> Path:
        return self.data / "simulated" / "killed"

    def costs(self) -> dict[str, Any]:
        return self.reconciliation.check_costs(self.project, CONVOFORGE_DATA_DIR=str(self.data))

    def build(self) -> subprocess.Popen[str]:
        return self.start("killed", self.server.url, CONVOFORGE_DATA_DIR=str(self.data))

    def built(self) -> dict[str, list[tuple[str, str]]]:
        return self.ended(self.build())

    def ended(self, process: subprocess.Popen[str]) -> dict[str, list[tuple[str, str]]]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return conversations(self.dataset / "latest")

    def recorded(self) -> dict[tuple[int, int], tuple[Any, ...]]:
        """Everything that a call has left in the ledger and that nothing may change any more."""
        query = """SELECT l.request_id, l.attempt, l.status, l.billing, l.api_request_id, l.input_tokens, l.output_tokens, l.cost_pico,
            a.conversation_id, a.turns FROM generation_logs l LEFT JOIN answers a USING (request_id, attempt) WHERE l.status <> 'open'"""
        with closing(sqlite3.connect(self.data / "ledger.db")) as connection, suppress(sqlite3.OperationalError):
            return {row[:2]: row[2:] for row in connection.execute(query)}
        return {}

    def count(self, query: str) -> int:
        database = self.data / "ledger.db"
        if not database.exists():
            return 0
        with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
            return int(connection.execute(query).fetchone()[0])
        return 0

    def kill_in(self, process: subprocess.Popen[str], seconds: float) -> None:
        """Kill a build, and look whether what it leaves is in order."""
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=seconds)
        good = latest_is_good(self.dataset)
        process.kill()
        process.communicate()
        assert latest_is_good(self.dataset) >= good

    def resumed(self, *, kills: int) -> dict[str, list[tuple[str, str]]]:
        """Build to the end, and compare the costs: nothing that was recorded has changed, and nothing was paid for twice but what
        was in flight when the build before was killed."""
        before = self.recorded()
        found = self.built()
        after = self.recorded()
        assert {key: after[key] for key in before} == before
        self.reconciliation.check(unheard=kills * CONCURRENCY)
        assert self.count("SELECT count(*) FROM generation_logs WHERE status = 'lost'") <= kills * CONCURRENCY
        return found


@pytest.fixture
def staged(building: Project, start_build: StartBuild, serve: Callable[..., SimulatorControl]) -> Callable[[str], Stage]:
    building.spec("killed", axes=AXES, limits=limits(), max_draws=10)
    server = serve(latency_ms=150, jitter_ms=100, fault_rate=FAULTS, seed=3)

    def staged(name: str) -> Stage:
        server.reset()
        data = building.folder / name
        shutil.rmtree(data, ignore_errors=True)
        return Stage(building, start_build, server, data)

    return staged


def killed_at(stage: Stage, sign: Callable[[Stage], Any], seconds: float) -> None:
    """Begin a build, and kill it so many seconds after it gave a sign."""
    process = stage.build()
    wait_for(lambda: sign(stage) or process.poll() is not None, "the moment to kill")
    stage.kill_in(process, seconds)


def begun(stage: Stage) -> bool:
    return stage.count("SELECT count(*) FROM sqlite_master WHERE name = 'requests'") > 0


def answered(count: int) -> Callable[[Stage], bool]:
    return lambda stage: stage.count("SELECT count(*) FROM answers") >= count


def scored(stage: Stage) -> bool:
    return stage.count("SELECT count(*) FROM answers WHERE score IS NOT NULL") > 0


def publishing(stage: Stage) -> bool:
    return bool(list(stage.dataset.glob(".staging-*")))


@pytest.mark.long
def test_killed_while_it_generates_and_while_it_publishes_a_build_comes_out_as_an_undisturbed_one(
    staged: Callable[[str], Stage],
) -> None:
    calm = staged("calm")
    undisturbed = calm.built()
    calm.reconciliation.check()
    chance = random.Random(11)
    stage = staged("killed")
    killed_at(stage, answered(20), chance.uniform(0, 0.3))
    killed_at(stage, publishing, chance.uniform(0, 0.05))
    assert stage.resumed(kills=2) == undisturbed
    assert stage.costs()["accepted"] == len(undisturbed) == 60


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_any_of_twenty_moments_a_build_comes_out_as_an_undisturbed_one(staged: Callable[[str], Stage]) -> None:
    calm = staged("calm")
    process = calm.build()
    wait_for(lambda: begun(calm), "a ledger")
    since = time.monotonic()
    undisturbed = calm.ended(process)
    whole = time.monotonic() - since
    calm.reconciliation.check()
    chance = random.Random(2)
    moments = [
        *((begun, whole * (part + chance.random()) / 12) for part in range(12)),
        *((scored, chance.uniform(0, 0.2)) for _ in range(3)),
        *((publishing, chance.uniform(0, 0.2)) for _ in range(5)),
    ]
    for number, (sign, seconds) in enumerate(moments):
        stage = staged(f"killed-{number}")
        killed_at(stage, sign, seconds)
        print(f"{sign.__name__} + {seconds:.2f} s: {len(stage.recorded())} calls were recorded")
        assert stage.resumed(kills=1) == undisturbed
        assert stage.costs()["accepted"] == 60
