"""The table of message batches in `docs/api-answers.md`, row by row: what the simulator is told to send, and what becomes of a batch."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from message_batches.made import MINUTE, Open, Run, match

from convoforge.generation.batch_results import RESULTS_LIVE, SHORT_FOR
from convoforge.simulator.client import SimulatorControl

pytestmark = pytest.mark.anyio

TABLE = Path(__file__).resolve().parents[2] / "docs" / "api-answers.md"
COUNT, ONE = 12, 4
STATES = {"accepted": "held", "dropped": "held", "pending": "pending", "refused": "failed"}


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    answer: str
    met_by: str
    fault: Any
    first_look: int
    waits: str
    draw: str
    run: str
    billing: str

    @property
    def concerned(self) -> int:
        """How many of the requests end as the row says."""
        return 1 if self.met_by == "one" else COUNT - self.first_look or COUNT


def read_rows() -> list[Row]:
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in TABLE.read_text().splitlines()]
    return [
        Row(row[0], row[1], json.loads(row[2].strip("`")), int(row[3]), *row[4:8])
        for row in cells
        if len(row) == 8 and row[2].startswith("`")
    ]


ROWS = read_rows()


def test_the_table_covers_every_kind_of_outcome() -> None:
    assert len(ROWS) > 40
    assert {row.waits for row in ROWS} == {"no", "1 h", "29 days", "never ends by itself"}
    assert {row.draw for row in ROWS} == set(STATES)
    assert {row.run for row in ROWS} == {"goes on", "stops", "ends short"}
    assert {row.billing for row in ROWS} == {"none", "billed", "maybe"}


@pytest.mark.parametrize("row", ROWS, ids=[row.answer for row in ROWS])
async def test_an_answer_has_the_outcome_that_the_table_says(start_run: Open, simulator: SimulatorControl, row: Row) -> None:
    async with start_run() as run:
        if row.met_by == "one":
            simulator.script(row.fault, match=match(ONE))
        elif row.met_by == "all":
            simulator.script(*[row.fault] * COUNT)
        elif row.met_by == "batch_create":
            simulator.script(row.fault, on=row.met_by)
        await run.hand_over(COUNT)
        if row.met_by in ("batch_retrieve", "batch_results"):
            simulator.script(*[row.fault] * 20, on=row.met_by)
        found = await run.collect()
        assert sum(1 for _, kind in answers(run) if kind is not None) == row.first_look
        assert found.going_on == (row.waits != "no")
        check_the_run(run, row)
        if row.waits == "never ends by itself":
            assert (await run.collect(after=timedelta(days=28))).going_on == 1
            simulator.forget()
            again = await run.collect()
            assert (again.going_on, run.states) == (0, {"held": COUNT})  # nothing was given up
            return
        if row.waits != "no":
            patience = {"1 h": SHORT_FOR, "29 days": RESULTS_LIVE}[row.waits]
            assert (await run.collect(after=patience - MINUTE)).going_on == 1
            assert (await run.collect(after=2 * MINUTE)).going_on == 0
        check_the_requests(run, row)


def check_the_run(run: Run, row: Row) -> None:
    control = run.control
    assert (control.stopped is not None) == (row.run != "goes on"), control.stopped
    assert control.fatal == (row.run == "stops")


def check_the_requests(run: Run, row: Row) -> None:
    """Those concerned are as the row says, the others are accepted."""
    wanted = Counter({"held": COUNT - row.concerned})
    wanted[STATES[row.draw]] += row.concerned
    assert Counter(run.states) == +wanted
    bad = sum(1 for _, kind in answers(run) if kind not in (None, "ok"))
    assert bad == (row.concerned if row.draw == "dropped" else 0)
    billing = Counter(one for (one,) in run.rows("SELECT billing FROM generation_logs"))
    expected = Counter({"billed": COUNT - row.concerned})
    expected[row.billing] += row.concerned
    assert billing == +expected


def answers(run: Run) -> list[tuple[Any, ...]]:
    return run.rows("SELECT requests.id, kind FROM requests LEFT JOIN answers ON answers.request_id = requests.id")
