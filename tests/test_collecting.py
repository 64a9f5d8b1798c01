"""What message batches bring, over HTTP and into a real ledger, whatever the API answers. Hours pass without anybody waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from convoforge.batching import Batcher
from convoforge.claude import Claude
from convoforge.collecting import MISSING_FOR, RESULTS_LIVE, SHORT_FOR, Collected
from convoforge.control import Control
from convoforge.gate import fingerprint
from convoforge.generator import Job
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import read_budgets
from convoforge.ledger.batches import open_batches, troubled_batches
from convoforge.ledger.draws import claim, enrol, read_draws
from convoforge.ledger.owners import new_owner, register, retire
from convoforge.ledger.runs import dataset_id, open_run
from convoforge.models import Prompt
from convoforge.plan import Cell, worst_cost_pico
from convoforge.pricing import price_of
from convoforge.simulator.control import Control as Simulator
from convoforge.simulator.launch import simulator_process
from convoforge.spec import DatasetSpec

pytestmark = pytest.mark.anyio

MODEL, KEY = "claude-sonnet-5-5", "sk-one"
PRICE = price_of(MODEL, batch=True)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def prompt(number: int) -> Prompt:
    return Prompt("You write conversations.", f"Write one conversation as JSON.\nTopic: market volatility\nDraw: {number};\n")


def match(number: int) -> str:
    """What only the prompt of this draw holds."""
    return f"Draw: {number};"


def worst(*numbers: int) -> int:
    """What these draws may cost at the most, at the price of batches."""
    return sum(worst_cost_pico(prompt(number), 4096, PRICE) for number in numbers)


@dataclass
class Run:
    """A run with its batches. `passed` is added to the real time: so hours pass."""

    ledger: Ledger
    batcher: Batcher
    control: Control
    spec: DatasetSpec
    dataset: int
    owner: str
    passed: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.passed

    async def hand_over(self, count: int = 12) -> None:
        cells = [Cell(f"{n:032x}", "Anxious Investor", "Fear", "bonds", "template", "advice") for n in range(count)]
        self.ledger.write(enrol, self.dataset, [(cell, 0) for cell in cells])
        ids = [draw.request_id for draw in self.ledger.read(read_draws, self.dataset)]
        claimed = self.ledger.write(claim, self.owner, ids, datetime.now(UTC))
        jobs = [Job(one, prompt(int(one.cell, 16)), self.spec.generation, "advice", "1/x") for one in claimed]
        handed, failed = await self.batcher.submit(jobs)
        assert (len(handed), failed) == (count, set())

    async def collect(self, after: timedelta = timedelta()) -> Collected:
        self.passed += after
        return await self.batcher.collect()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.ledger.read(lambda connection: connection.execute(text(query)).all())]

    @property
    def states(self) -> dict[str, int]:
        return dict(Counter(draw.state for draw in self.ledger.read(read_draws, self.dataset)))

    @property
    def failures(self) -> list[tuple[Any, ...]]:
        """Cell number, billing, kind and words of the attempts that failed."""
        query = (
            "SELECT cell, billing, error_kind, error FROM generation_logs JOIN requests ON requests.id = request_id "
            "WHERE status = 'failed' ORDER BY cell"
        )
        return [(int(cell, 16), *others) for cell, *others in self.rows(query)]

    @property
    def trouble(self) -> str | None:
        [batch] = self.ledger.read(open_batches)
        return batch.seen.trouble

    @property
    def maybe_pico(self) -> int:
        return int(self.ledger.write(read_budgets, [f"dataset:{self.dataset}"])[f"dataset:{self.dataset}"]["maybe_pico"])


Open = Callable[..., AbstractAsyncContextManager[Run]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def simulator_url(_own_environment: None) -> Iterator[str]:
    with simulator_process() as url:
        yield url


@pytest.fixture
def simulator(simulator_url: str) -> Simulator:
    control = Simulator(simulator_url)
    control.reset()
    return control


@pytest.fixture
def start_run(simulator_url: str, tmp_path: Path) -> Open:
    """Opens runs on one ledger."""

    @asynccontextmanager
    async def opened(url: str = simulator_url, name: str = "r") -> AsyncIterator[Run]:
        spec = DatasetSpec.model_validate(
            {
                "name": "advice",
                "model": MODEL,
                "templates": ["advice"],
                "axes": {"persona": ["a"], "emotion": ["b"], "topic": ["c"], "tier": ["template"]},
                "quality": {"min_score": 1},
                "retry": {"base_delay_seconds": 0.01, "jitter_seconds": 0, "timeout_seconds": 5},
            }
        )
        claude, control = Claude([KEY], url, MODEL, timeout_seconds=5), Control()
        with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            now, owner = datetime.now(UTC), new_owner()
            ledger.write(register, owner, now)
            dataset = ledger.write(dataset_id, spec.name, "simulator", now)
            ledger.write(open_run, name, dataset, spec, owner.id, None, now)
            batcher = Batcher(
                ledger=ledger,
                claude=claude,
                names=[fingerprint(KEY)],
                control=control,
                spec=spec,
                price=PRICE,
                provider="simulator",
                run_id=name,
                dataset_id=dataset,
                owner=owner.id,
                endpoint=url,
                now=lambda: run.now(),
            )
            run = Run(ledger, batcher, control, spec, dataset, owner.id)
            try:
                yield run
            finally:
                await claude.aclose()
            ledger.write(retire, owner.id, datetime.now(UTC))

    return opened


async def test_a_404_for_a_batch_passes_however_old_the_batch_is(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("404", "404", "404", on="batch_retrieve")
        for _ in range(3):
            found = await run.collect(after=HOUR)
            assert (found.going_on, found.failed) == (1, set())
            assert "has not had batch" in found.troubles[0]
        simulator.script("404", "404", on="batch_results")
        for _ in range(2):
            assert (await run.collect(after=HOUR)).going_on == 1
        [batch] = run.ledger.read(open_batches)
        assert batch.seen.missing_since is not None
        assert batch.seen.given_up_at == batch.seen.missing_since + MISSING_FOR
        found = await run.collect(after=30 * MINUTE)
        assert (found.going_on, found.tally["generated"], found.troubles) == (0, 12, [])
        assert run.states == {"held": 12}
    assert len(simulator.rows()) == 12  # nothing was asked twice


async def test_a_batch_that_the_api_still_lists_is_not_lost(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(*["404"] * 4, on="batch_retrieve")
        for after in (HOUR, MISSING_FOR, 24 * HOUR, 24 * HOUR):
            assert (await run.collect(after=after)).going_on == 1
        assert run.trouble is not None and "yet it is in the list" in run.trouble
        assert (await run.collect()).tally["generated"] == 12


async def test_while_the_list_cannot_be_read_nothing_is_lost(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("404", "404", "404", on="batch_retrieve")
        simulator.script("500", "404", on="batch_list")
        for after in (HOUR, MISSING_FOR, HOUR):
            assert (await run.collect(after=after)).going_on == 1
        assert (await run.collect()).tally["generated"] == 12


async def test_a_batch_that_the_api_neither_knows_nor_lists_is_given_up_after_hours(
    start_run: Open, simulator: Simulator
) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.reset()
        assert (await run.collect(after=24 * HOUR)).going_on == 1  # it is the first 404
        assert (await run.collect(after=MISSING_FOR - MINUTE)).going_on == 1
        found = await run.collect(after=2 * MINUTE)
        assert (found.going_on, len(found.failed)) == (0, 12)
        assert "asked again, and may have been billed" in found.notes[0]
        assert {(billing, kind) for _, billing, kind, _ in run.failures} == {("maybe", "lost")}
        assert run.states == {"pending": 12}
        assert run.maybe_pico == worst(*range(12))


async def test_a_404_of_another_address_gives_nothing_up(
    start_run: Open, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_run() as run:
        await run.hand_over()
        monkeypatch.setattr(run.batcher._collector, "_endpoint", "https://elsewhere.example")
        simulator.script(*["404"] * 3, on="batch_retrieve")
        run.ledger.write(lambda c: c.execute(text("UPDATE datasets SET provider = 'anthropic'")))
        for after in (HOUR, 24 * HOUR):
            found = await run.collect(after=after)
            assert found.going_on == 1
            assert "set ANTHROPIC_BASE_URL back" in found.troubles[0]


async def test_what_a_simulator_that_is_gone_worked_on_is_asked_again(
    start_run: Open, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.reset()
        monkeypatch.setattr(run.batcher._collector, "_endpoint", "http://127.0.0.1:1")
        assert len((await run.collect()).failed) == 12


@pytest.mark.parametrize(
    ("fault", "billing", "said"),
    [
        ("line_cut", "maybe", "could not be read"),
        ("line_stub", "maybe", "without a result"),
        ("line_event", "maybe", "without a result"),
        ("line_nameless", "maybe", "without a result"),
        ("line_stranger", "maybe", "without a result"),
        ("line_unknown_type", "maybe", "unknown type 'deferred'"),
    ],
)
async def test_a_line_that_cannot_be_read_is_one_request_s_failure(
    start_run: Open, simulator: Simulator, fault: str, billing: str, said: str
) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(fault, match=match(4))
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], len(found.failed)) == (0, 11, 1)
        [(cell, billed, _, words)] = run.failures
        assert (cell, billed) == (4, billing)
        assert said in words
        assert run.states == {"held": 11, "pending": 1}
        assert run.maybe_pico == worst(4)
        assert len(found.notes) == 1 and "1 could not be read" in found.notes[0] or "1 never came" in found.notes[0]
        [over] = run.ledger.read(troubled_batches, 5)
        assert over.seen.trouble == found.notes[0]


@pytest.mark.parametrize("fault", ["line_bom", "line_nan", "line_twice"])
async def test_a_line_that_the_sdk_reads_is_read_once(start_run: Open, simulator: Simulator, fault: str) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(fault, match=match(4))
        found = await run.collect()
        assert (found.tally["generated"], found.failed, found.notes) == (12, set(), [])
        assert run.states == {"held": 12}


async def test_half_a_character_in_a_line_is_judged_like_any_answer(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("line_half_character", match=match(4))
        found = await run.collect()
        assert (found.tally["generated"], found.tally["dropped"]) == (12, 1)
        [(kind, reason, raw)] = run.rows("SELECT kind, reason, raw_text FROM answers WHERE kind <> 'ok'")
        assert kind == "invalid" and "half" in reason
        raw.encode()
        assert run.failures == []


async def test_a_web_page_in_the_midst_is_told_and_the_rest_is_written(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("line_html", match=match(4))
        found = await run.collect()
        assert (found.going_on, found.tally["generated"]) == (1, 11)  # its lines are no results: one is missing
        found = await run.collect(after=SHORT_FOR)
        assert (found.going_on, len(found.failed)) == (0, 1)
        assert "<!doctype html>" in found.notes[0]


async def test_a_web_page_for_results_gives_nothing_up(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("html", "html", on="batch_results")
        found = await run.collect(after=24 * HOUR)
        assert (found.going_on, found.failed) == (1, set())
        assert "<!doctype html>" in found.troubles[0]
        assert (await run.collect()).tally["generated"] == 12


async def test_an_ended_batch_with_results_missing_is_closed_an_hour_after_its_end(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        for number in (2, 5, 7):
            simulator.script("line_missing", match=match(number))
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], found.failed) == (1, 9, set())
        assert "3 of 12 results" in found.troubles[0]
        [batch] = run.ledger.read(open_batches)
        assert batch.seen.api_ended_at is not None
        assert batch.seen.given_up_at == batch.seen.api_ended_at + SHORT_FOR
        assert (await run.collect(after=SHORT_FOR - MINUTE)).going_on == 1
        found = await run.collect(after=2 * MINUTE)
        assert (found.going_on, len(found.failed)) == (0, 3)
        assert [(cell, billing, kind) for cell, billing, kind, _ in run.failures] == [(n, "maybe", "lost") for n in (2, 5, 7)]
        assert run.maybe_pico == worst(2, 5, 7)
        assert run.states == {"held": 9, "pending": 3}


async def test_no_results_at_all_are_seen_twice_before_they_are_given_up(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over(3)
        for number in range(3):
            simulator.script("line_missing", match=match(number))
        assert (await run.collect(after=8 * HOUR)).going_on == 1
        assert (await run.collect(after=SHORT_FOR - MINUTE)).going_on == 1
        assert len((await run.collect(after=2 * MINUTE)).failed) == 3


@pytest.mark.parametrize("fault", ["reset", "broken_json"])
async def test_a_reading_that_breaks_off_is_taken_up_again(start_run: Open, simulator: Simulator, fault: str) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(fault, fault, on="batch_results")
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], found.failed) == (1, 6, set())
        found = await run.collect()
        again = found if not found.going_on else await run.collect()
        assert (again.going_on, again.tally["generated"]) == (0, 6)
        assert run.states == {"held": 12}
        assert run.failures == []


async def test_a_last_line_without_its_end_is_given_up_with_its_reason(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(*["broken_json"] * 4, on="batch_results")
        assert (await run.collect()).going_on == 1
        found = await run.collect(after=2 * HOUR)
        assert (found.going_on, len(found.failed)) == (0, 6)
        assert "1 could not be read and 5 never came" in found.notes[0]


async def test_an_account_at_its_end_stops_the_run_and_uses_up_no_draw(start_run: Open, simulator: Simulator) -> None:
    empty = {"kind": "400", "message": "You have reached your specified API usage limits. You will regain access on 2026-12-01."}
    async with start_run() as run:
        await run.hand_over()
        simulator.script(*[empty] * 12)
        found = await run.collect()
        assert (found.going_on, len(found.failed)) == (0, 12)
        assert run.control.doomed and run.control.stopped is not None and "regain access" in run.control.stopped
        assert run.states == {"pending": 12}
        assert {billing for _, billing, _, _ in run.failures} == {"none"}
        assert run.maybe_pico == 0


async def test_one_batch_s_trouble_does_not_hold_up_another(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over(3)
        cells = [Cell(f"{n:032x}", "a", "b", "c", "template", "advice") for n in range(100, 103)]
        run.ledger.write(enrol, run.dataset, [(cell, 0) for cell in cells])
        ids = [draw.request_id for draw in run.ledger.read(read_draws, run.dataset) if draw.state == "pending"]
        jobs = [
            Job(one, prompt(int(one.cell, 16)), run.spec.generation, "advice", "1/x")
            for one in run.ledger.write(claim, run.owner, ids, datetime.now(UTC))
        ]
        await run.batcher.submit(jobs)
        simulator.script("400", on="batch_retrieve")
        found = await run.collect()
        assert (found.going_on, found.tally["generated"]) == (1, 3)
        assert run.control.stopped is None
        assert (await run.collect()).tally["generated"] == 3


async def test_a_batch_is_given_up_when_the_api_keeps_no_results_of_its_age(start_run: Open, simulator: Simulator) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("404", on="batch_retrieve")
        found = await run.collect(after=RESULTS_LIVE)
        assert (found.going_on, len(found.failed)) == (0, 12)


async def test_a_simulator_may_not_know_a_batch_for_a_while(start_run: Open, _own_environment: None) -> None:
    with simulator_process(batch_unknown_seconds=1.5, batch_results_late_seconds=3) as url:
        async with start_run(url) as run:
            await run.hand_over(2)
            troubles = set()
            for _ in range(200):
                found = await run.collect()
                if not found.going_on:
                    break
                troubles |= {("not found" in one, "no available results" in one) for one in found.troubles}
                await asyncio.sleep(0.1)
            assert found.tally["generated"] == 2
            assert troubles == {(True, False), (False, True)}
