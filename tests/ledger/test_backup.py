"""The ledger is copied while it is written, as data/README.md says, and the copy's costs are right: a moment of the original's."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from convoforge import ConversationRequest, open_generator
from convoforge.costs.summary import cost_summary
from convoforge.generation.requests import default_spec
from convoforge.ledger import Ledger
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings
from convoforge.simulator.launch import simulator_process

GUIDE = (Path(__file__).resolve().parent.parent.parent / "data" / "README.md").read_text()
CALLS = 40


def by_vacuum(ledger: Path, copy: Path) -> None:
    """The line of data/README.md, run in a shell as it stands there."""
    (line,) = re.findall(r"^\.venv/bin/python (-c .*VACUUM INTO.*)$", GUIDE, re.MULTILINE)
    command = line.replace("data/ledger.db", str(ledger)).replace("/backups/ledger.db", str(copy))
    subprocess.run(f"{sys.executable} {command}", shell=True, check=True)


def by_backup(ledger: Path, copy: Path) -> None:
    """What `sqlite3 FILE ".backup COPY"` does, page by page."""
    with sqlite3.connect(ledger) as source, sqlite3.connect(copy) as target:
        source.backup(target, pages=1)


def rows(ledger: Ledger, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in ledger.read(lambda connection: connection.execute(text(query)).all())]


@pytest.mark.server
@pytest.mark.parametrize("copy_ledger", [by_vacuum, by_backup])
def test_a_copy_made_during_a_run_has_the_costs_of_a_moment(tmp_path: Path, copy_ledger: Callable[[Path, Path], None]) -> None:
    copies: list[Path] = []

    async def run(url: str) -> None:
        settings = Settings(base_url=url, data_dir=tmp_path / "data")
        spec = change_spec(default_spec("claude-sonnet-5-5"), limits={"max_requests": 100_000, "concurrency": 4})
        async with open_generator(settings=settings, simulate=True, spec=spec) as generator:
            asked = [
                ConversationRequest(template="advice", persona="Anxious Investor", emotion="Fear", topic=f"topic {number}")
                for number in range(CALLS)
            ]
            work = asyncio.ensure_future(generator.generate_batch(asked, concurrency=4))
            while not work.done():
                copy = tmp_path / f"copy-{len(copies)}.db"
                await asyncio.to_thread(copy_ledger, tmp_path / "data" / "ledger.db", copy)
                copies.append(copy)
                await asyncio.sleep(0.15)
            assert all(outcome.conversation for outcome in await work)

    with simulator_process(latency_ms=30) as url:
        asyncio.run(run(url))
    finished = "SELECT request_id, attempt, billing, cost_pico, output_tokens FROM generation_logs WHERE status = 'succeeded'"
    with Ledger(Settings(data_dir=tmp_path / "data").database_url) as ledger:
        whole = rows(ledger, finished)
    assert len(whole) == CALLS
    seen = set()
    for path in copies:
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with Ledger(f"sqlite:///{path}") as copy:
            held = rows(copy, finished)
            assert set(held) <= set(whole)
            assert rows(copy, "SELECT count(*) FROM answers") == [(len(held),)]
            assert copy.read(cost_summary, provider="simulator").succeeded == len(held)
            seen.add(len(held))
    assert any(0 < number < CALLS for number in seen), seen


def test_a_file_copied_by_itself_is_no_backup(tmp_path: Path) -> None:
    """Why the guide says so: what was written last is in the file beside it."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.write(lambda connection: connection.execute(text("INSERT INTO budgets (scope) VALUES ('x')")) and None)
        shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    copied = sqlite3.connect(tmp_path / "copy.db")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        copied.execute("SELECT * FROM budgets")
