"""The disk fills: no call is made whose answer could not be kept, what was paid is kept, and the run says what to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from storm.conftest import AXES, limits, reconcile
from storm.reconciliation import conversations
from support import Project
from watching import wait_for

from convoforge.errors import LedgerError
from convoforge.ledger import Ledger
from convoforge.simulator.client import SimulatorControl

StartBuild = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def small_disk(building: Project) -> Iterator[Path]:
    """A disk of 48 MB under the project's data."""
    building.data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(building.data)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    yield building.data
    subprocess.run(["umount", "--lazy", str(building.data)], check=True)


@contextmanager
def filled(disk: Path, name: str) -> Iterator[None]:
    """The disk full to the last byte, but for what is there already."""
    ballast = disk / name
    with ballast.open("wb", buffering=0) as file:
        step = 1 << 20
        while step:
            try:
                if file.write(bytes(step)) < step:
                    step //= 2
            except OSError:
                step //= 2
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.long
def test_a_full_disk_stops_the_run_with_everything_kept_and_the_next_goes_on(
    building: Project, small_disk: Path, serve: Callable[..., SimulatorControl], start_build: StartBuild
) -> None:
    server = serve(latency_ms=300)
    building.spec("full", axes=AXES, limits=limits())
    process = start_build("full", server.url)
    wait_for(lambda: server.usage()["requests"] >= 16 or process.poll() is not None, "calls")
    with filled(small_disk, "somebody-elses"):
        out, err = process.communicate(timeout=200)
        assert process.returncode == 1, out + err
        assert "the disk is full" in err.splitlines()[-1]
        assert "Traceback" not in err
        reconciliation = reconcile(small_disk, server)
        assert reconciliation.count("generation_logs", "status <> 'succeeded'") == 0
        assert reconciliation.count("answers") == server.usage()["requests"] < 60
        # what the run had put by is free again: that too is taken
        with filled(small_disk, "more"), pytest.raises(LedgerError, match="on a disk that is not full"):
            Ledger(reconciliation.url)
    with pytest.raises(LedgerError, match="the disk is full: make room"), Ledger(f"sqlite:///{small_disk}/none.db") as ledger:
        with filled(small_disk, "all"):
            _ = ledger.writer
    done = building.run("build", "full", "--simulate", "--json", ANTHROPIC_BASE_URL=server.url)
    assert done.code == 0, done.err
    assert len(conversations(Path(done.last["path"]))) == 60
    assert server.usage()["requests"] == reconciliation.count("answers")
    reconciliation.check()
