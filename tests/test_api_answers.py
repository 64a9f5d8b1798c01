"""The table in `docs/api-answers.md`, row by row: each answer is sent by the simulator to a run and to the HTTP API."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from window_limiter import WindowRateLimiter

from convoforge.api.app import make_app
from convoforge.claude import SIMULATOR_KEY, Claude
from convoforge.claude.retry import Policy
from convoforge.generation.generator import Generator
from convoforge.generation.jobs import Job
from convoforge.generation.requests import default_spec
from convoforge.generation.run_context import RunContext
from convoforge.generation.run_state import UNREADABLE_LIMIT, RunState
from convoforge.ledger import Ledger
from convoforge.ledger.owners import make_owner, register
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.models import Outcome, Prompt
from convoforge.planning.plan import Cell
from convoforge.planning.spec import change_spec
from convoforge.pricing import price_of
from convoforge.rate import Limits
from convoforge.scoring import Rubric
from convoforge.scoring.registry import find_scorers
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl

TABLE = Path(__file__).resolve().parent.parent / "docs" / "api-answers.md"
MODEL = "claude-sonnet-5-5"
RETRY = {
    "base_delay_seconds": 0.01,
    "jitter_seconds": 0.0,
    "max_delay_seconds": 0.05,
    "patience_seconds": 0.2,
    "timeout_seconds": 0.5,
}
STATES = {"pending": "pending", "refused": "failed", "accepted": "held", "dropped": "held"}
BODY = {"templateId": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": "bonds", "tier": "template"}


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    answer: str
    fault: Any
    calls: str
    draw: str
    run: str
    serve: str
    billing: str


def read_rows() -> list[Row]:
    """The rows of the tables whose second column is what the simulator is told to send."""
    cells = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in TABLE.read_text().splitlines() if line.startswith("|")
    ]
    return [Row(row[0], json.loads(row[1].strip("`")), *row[2:7]) for row in cells if row[1].startswith("`")]


ROWS = read_rows()


def test_the_table_covers_every_kind_of_outcome() -> None:
    assert len(ROWS) > 50
    assert {row.run for row in ROWS} == {"goes on", "stops", "ends short", "stops after ten"}
    assert {row.draw for row in ROWS} == set(STATES)
    assert {row.billing for row in ROWS} == {"none", "billed", "maybe"}
    assert max(Counter(row.answer for row in ROWS).values()) == 1


async def run_until(url: str, folder: Path, requests: int) -> tuple[list[Outcome], RunState, list[Any]]:
    """Requests one after the other, until the run stops; the outcomes, how the run stands, and the ledger's rows of the first."""
    spec = change_spec(default_spec(MODEL), retry=RETRY, quality={"min_score": 1})
    control = RunState()
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        now, owner = datetime.now(UTC), make_owner()
        ledger.write(register, owner, now)
        dataset = ledger.write(ensure_dataset, "table", "simulator", now)
        claude = Claude((SIMULATOR_KEY,), url, MODEL, timeout_seconds=spec.retry.timeout_seconds)
        async with WindowRateLimiter(Limits(max_requests=100_000)) as limiter:
            context = RunContext(
                run_id="r",
                dataset_id=dataset,
                owner=owner.id,
                provider="simulator",
                spec=spec,
                rubric=Rubric(find_scorers(spec.quality.scorers)),
                price=price_of(MODEL),
                policy=Policy(spec.retry),
                ledger=ledger,
                claude=claude,
                limiter=limiter,
                state=control,
                key_names=[],
                base_url=url,
            )
            generator = Generator(context)
            cells = [Cell(f"{n:032x}", "Anxious Investor", "Fear", "bonds", "template", "advice") for n in range(requests)]
            ledger.write(register_draws, dataset, [(cell, 0) for cell in cells])
            ids = [draw.request_id for draw in ledger.read(read_draws, dataset)]
            outcomes = []
            for claimed in ledger.write(claim, owner.id, ids, now):
                prompt = Prompt(
                    "You write conversations.", f"Write one conversation as JSON.\nTopic: bonds\nDraw: {claimed.request_id};\n"
                )
                outcomes.append(await generator.generate(Job(claimed, prompt, spec.generation, "advice", "1/x")))
                if control.stopped is not None:
                    break
            await claude.aclose()
        query = "SELECT requests.state, l.status, l.billing, l.model, l.usage_known, l.maybe_pico, l.cost_pico FROM generation_logs l "
        query += (
            "JOIN requests ON requests.id = l.request_id WHERE l.request_id = (SELECT min(id) FROM requests) ORDER BY l.attempt"
        )
        rows = ledger.read(lambda connection: connection.execute(text(query)).all())
    return outcomes, control, list(rows)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.answer)
def test_a_run_meets_an_answer_as_the_table_says(row: Row, simulator: SimulatorControl, tmp_path: Path) -> None:
    simulator.script(*[row.fault] * 60)
    (outcome,), control, logs = asyncio.run(run_until(simulator.url, tmp_path, 1))
    calls = len(simulator.rows())
    assert calls == len(logs) == outcome.attempts
    assert calls == int(row.calls) if row.calls != "patience" else calls > 3
    assert {log.state for log in logs} == {STATES[row.draw]}
    assert (outcome.conversation is not None) == (row.draw == "accepted")
    assert {log.billing for log in logs} == {row.billing}
    for log in logs:
        assert (log.cost_pico > 0, log.maybe_pico > 0) == (row.billing == "billed", row.billing == "maybe")
    if row.run == "stops after ten":
        assert control.stopped is None
    else:
        assert (control.stopped is not None, control.fatal) == (row.run != "goes on", row.run == "stops")
    if outcome.error is not None:
        assert "\n" not in str(outcome.error)


@pytest.mark.parametrize("row", [row for row in ROWS if row.run == "stops after ten"], ids=lambda row: row.answer)
def test_ten_of_them_in_a_row_stop_the_run(row: Row, simulator: SimulatorControl, tmp_path: Path) -> None:
    simulator.script(*[row.fault] * 60)
    _, control, _ = asyncio.run(run_until(simulator.url, tmp_path, 30))
    assert control.fatal and "10 " in (control.stopped or "")
    assert len(simulator.rows()) == UNREADABLE_LIMIT


@pytest.fixture(scope="module")
def lasting(simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One server for all answers that end none."""
    SimulatorControl(simulator_url).reset()
    with serving(simulator_url, tmp_path_factory.mktemp("data")) as client:
        yield client


@contextmanager
def serving(url: str, folder: Path, **retry: float) -> Iterator[httpx.Client]:
    from served import running  # as the tests of the API do

    spec = change_spec(default_spec(MODEL), retry={**RETRY, **retry}, limits={"max_requests": 100_000})
    with running(make_app(Settings(base_url=url, data_dir=folder), spec=spec, simulate=True)) as client:
        yield client


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.answer)
def test_serve_meets_an_answer_as_the_table_says(
    row: Row, simulator: SimulatorControl, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first, then = row.serve.split(", ")
    if then == "201":
        meet(request.getfixturevalue("lasting"), simulator, row, int(first), int(then))
        return
    with serving(simulator.url, tmp_path, patience_seconds=30) as client:
        meet(client, simulator, row, int(first), int(then))


def meet(client: httpx.Client, simulator: SimulatorControl, row: Row, first: int, then: int) -> None:
    simulator.script(*[row.fault] * 60)
    answer = client.post("/api/conversations/generate", json=BODY)
    assert answer.status_code == first, answer.text
    simulator.reset()
    later = client.post("/api/conversations/generate", json=BODY)
    assert later.status_code == then, later.text
    assert client.get("/healthz").status_code == (200 if then == 201 else 503)
    assert ("retry-after" in later.headers) == (then != 201)
    if then == 429:
        assert int(later.headers["retry-after"]) <= 30  # no longer than the patience: then the API is asked once more
