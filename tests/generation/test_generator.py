"""One request from the limiter to the ledger, with everything real: ledger, limiter, HTTP, and a simulator that counts for itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text
from window_limiter import WindowRateLimiter

from convoforge.claude import Claude
from convoforge.claude.retry import Policy
from convoforge.errors import (
    BudgetExceeded,
    ConfigError,
    FatalAPIError,
    GenerationValidationError,
    LedgerError,
    LimiterClosed,
    ParseError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from convoforge.generation.generator import Generator
from convoforge.generation.jobs import Job
from convoforge.generation.lasting_run_state import LastingRunState
from convoforge.generation.run_context import RunContext
from convoforge.generation.run_state import SAME_REJECTION_LIMIT, RunState
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import Completion, Intent, finish_attempts, start_attempts
from convoforge.ledger.budgets import list_budget_scopes
from convoforge.ledger.owners import make_owner, register, retire
from convoforge.ledger.requests import Claimed, claim, read_draws, register_draws
from convoforge.ledger.runs import Remarks, ensure_dataset, read_remarks
from convoforge.models import AnswerKind, Outcome, Prompt, Provider, Status, Terms, Usage
from convoforge.planning.plan import Cell, worst_cost_pico
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import cost_pico, price_of, usd
from convoforge.rate import Limits, Need, Permit, fingerprint
from convoforge.scoring import Rubric
from convoforge.scoring.registry import find_scorers
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = pytest.mark.anyio

MODEL = "claude-sonnet-5-5"
PRICE = price_of(MODEL)
KEY, OTHER, WRONG = "sk-one", "sk-two", "sk-sim-wrong-0123456789"
SLOW_SECONDS = 0.3


class CountingGate(WindowRateLimiter):
    """The limiter, with its slots counted: each is to be settled once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given: list[Permit] = []
        self.settled: list[Permit] = []

    async def acquire(self, need: Need) -> Permit:
        permit = await super().acquire(need)
        self.given.append(permit)
        return permit

    def settle(self, permit: Permit, usage: Usage | None) -> None:
        self.settled.append(permit)
        super().settle(permit, usage)


@dataclass
class Run:
    """One run in this process: a generator and everything around it."""

    ledger: Ledger
    generator: Generator
    control: RunState
    limiter: CountingGate
    spec: DatasetSpec
    dataset: int
    owner: str
    run_id: str
    tasks: list[asyncio.Task[Outcome]] = field(default_factory=list)

    def claim(self, count: int, first: int = 0) -> list[Claimed]:
        """The draws from number `first` on, claimed."""
        cells = [
            Cell(f"{n:032x}", "Anxious Investor", "Fear", "bonds", "template", "advice") for n in range(first, first + count)
        ]
        self.ledger.write(register_draws, self.dataset, [(cell, 0) for cell in cells])
        wanted = {cell.key for cell in cells}
        ids = [draw.request_id for draw in self.ledger.read(read_draws, self.dataset) if draw.cell in wanted]
        return self.ledger.write(claim, self.owner, ids, datetime.now(UTC))

    def job(self, claimed: Claimed) -> Job:
        return Job(claimed, prompt(int(claimed.cell, 16)), self.spec.generation, "advice", "1/x")

    def start(self, *claimed: Claimed) -> list[asyncio.Task[Outcome]]:
        started = [asyncio.create_task(self.generator.generate(self.job(one))) for one in claimed]
        self.tasks += started
        return started

    async def generate(self, count: int = 1, first: int = 0) -> list[Outcome]:
        """Claim and generate draws, all at once."""
        return list(await asyncio.gather(*self.start(*self.claim(count, first))))

    def rows(self, query: str) -> Any:
        return self.ledger.read(lambda connection: connection.execute(text(query)).all())

    def logs(self, *columns: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.rows(f"SELECT {', '.join(columns)} FROM generation_logs ORDER BY request_id, attempt")]

    def states(self) -> dict[str, int]:
        return {row[0]: row[1] for row in self.rows("SELECT state, count(*) FROM requests GROUP BY state")}

    def budget(self, scope: str = "run") -> tuple[int, int, int]:
        """Reserved, spent and maybe spent, in pico-dollars."""
        (row,) = self.rows(f"SELECT reserved_pico, spent_pico, maybe_pico FROM budgets WHERE scope LIKE '{scope}:%'")
        return row.reserved_pico, row.spent_pico, row.maybe_pico


def prompt(number: int) -> Prompt:
    return Prompt("You write conversations.", f"Write one conversation as JSON.\nTopic: market volatility\nDraw: {number};\n")


def match(number: int) -> str:
    """What only the prompt of this draw holds."""
    return f"Draw: {number};"


RESERVE = worst_cost_pico(prompt(0), 4096, PRICE)
Open = Callable[..., AbstractAsyncContextManager[Run]]


@pytest.fixture(scope="module")
def slow_url(_own_environment: None) -> Iterator[str]:
    with simulator_process(latency_ms=SLOW_SECONDS * 1000) as url:
        yield url


@pytest.fixture
def slow(slow_url: str) -> SimulatorControl:
    """Takes a while for each answer, and none for an error."""
    control = SimulatorControl(slow_url)
    control.reset()
    return control


@pytest.fixture
def open_run(tmp_path: Path) -> Open:
    """Opens runs on one ledger: ``open_run(simulator.url, keys=(…), retry={…}, budget={…}, limits={…})``."""

    @asynccontextmanager
    async def opened(
        url: str,
        *,
        database: str = f"sqlite:///{tmp_path / 'ledger.db'}",
        keys: Sequence[str] = (KEY,),
        provider: Provider = "simulator",
        control: RunState | None = None,
        name: str = "r",
        **changes: Any,
    ) -> AsyncIterator[Run]:
        spec = DatasetSpec.model_validate(
            {
                "name": "advice",
                "model": MODEL,
                "templates": ["advice"],
                "axes": {"persona": ["a"], "emotion": ["b"], "topic": ["c"], "tier": ["template"]},
                "quality": {"min_score": 1},
                **changes,
                "retry": {"base_delay_seconds": 0.01, "jitter_seconds": 0, "timeout_seconds": 5, **changes.get("retry", {})},
            }
        )
        limits = Limits(**{"max_requests": 100_000, **changes.get("limits", {})})
        claude = Claude(keys, url, MODEL, timeout_seconds=spec.retry.timeout_seconds)
        with Ledger(database) as ledger:
            now, owner = datetime.now(UTC), make_owner()
            ledger.write(register, owner, now)
            dataset = ledger.write(ensure_dataset, spec.name, provider, now)
            limiter, control = CountingGate(limits, [fingerprint(key) for key in keys]), control or RunState()
            context = RunContext(
                run_id=name,
                dataset_id=dataset,
                owner=owner.id,
                provider=provider,
                spec=spec,
                rubric=Rubric(find_scorers(spec.quality.scorers)),
                price=PRICE,
                policy=Policy(spec.retry),
                ledger=ledger,
                claude=claude,
                limiter=limiter,
                state=control,
                key_names=[fingerprint(key) for key in keys],
                base_url=url,
            )
            generator = Generator(context)
            run = Run(ledger, generator, control, limiter, spec, dataset, owner.id, name)
            try:
                yield run
                assert await generator.drain(10) == 0
                await asyncio.gather(*run.tasks, return_exceptions=True)
                assert Counter(map(id, limiter.settled)) == Counter(map(id, limiter.given))  # each permit once
                assert not control.in_flight
            finally:
                await claude.aclose()
            ledger.write(retire, owner.id, datetime.now(UTC))

    return opened


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def billed(simulator: SimulatorControl) -> dict[str, int]:
    delivered = simulator.usage()["billed_delivered"]
    return {name: delivered[name] for name in ("requests", "input_tokens", "output_tokens")}


RULES = "Every turn says something that only this client could have heard. " * 40  # 660 tokens


def shared(run: Run, count: int, **settings: Any) -> list[Job]:
    """Jobs whose prompts begin with the same rules."""
    generation = run.spec.generation.model_copy(update=settings)
    return [
        replace(run.job(one), prompt=replace(prompt(n), system=RULES, shared=True), settings=generation)
        for n, one in enumerate(run.claim(count))
    ]


async def test_of_many_requests_one_writes_the_shared_rules_and_the_others_read_them(
    simulator: SimulatorControl, open_run: Open
) -> None:
    async with open_run(simulator.url) as run:
        await asyncio.gather(*map(run.generator.generate, shared(run, 30)))
        written = run.logs("cache_write_5m_tokens", "cache_read_tokens")
        wrote = [row for row in written if row[0] > 0]
        assert len(wrote) == 1
        assert wrote[0][0] >= len(RULES) // 4
        assert [row for row in written if row not in wrote] == [(0, wrote[0][0])] * 29
        spent = run.budget()[1]
        assert spent == sum(row[0] for row in run.logs("cost_pico"))
        delivered = simulator.usage()["billed_delivered"]
        assert delivered["cache_read_input_tokens"] == 29 * wrote[0][0]
        usage = Usage(delivered["input_tokens"], delivered["output_tokens"], delivered["cache_read_input_tokens"], wrote[0][0])
        assert spent == cost_pico(usage, PRICE)


async def test_one_setting_turns_the_cache_off(simulator: SimulatorControl, open_run: Open) -> None:
    async with open_run(simulator.url) as run:
        await asyncio.gather(*map(run.generator.generate, shared(run, 5, caching=False)))
        assert run.logs("cache_write_5m_tokens", "cache_read_tokens") == [(0, 0)] * 5


async def test_where_the_one_ahead_fails_the_others_are_answered_all_the_same(
    simulator: SimulatorControl, open_run: Open
) -> None:
    simulator.script("400", "529", "reset")
    async with open_run(simulator.url) as run:
        outcomes = await asyncio.gather(*map(run.generator.generate, shared(run, 10)))
        assert Counter(outcome.status for outcome in outcomes)[Status.FAILED] == 1
        assert run.states() == {"held": 9, "failed": 1}
        served = [row for row in simulator.rows() if row["usage"]["cache_creation_input_tokens"]]
        assert (
            len(served) == len([row for row in run.logs("cache_write_5m_tokens") if row[0]]) + 1
        )  # and what the reset one wrote


class HeldLedger:
    """Lets a ledger's batched writes of one kind wait until they are let go."""

    def __init__(self, ledger: Ledger, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self._go = asyncio.Event()
        batched = ledger.batched

        async def held(function: Any, item: Any) -> Any:
            if function is write:
                self.waiting += 1
                await self._go.wait()
            return await batched(function, item)

        monkeypatch.setattr(ledger, "batched", held)

    def go(self) -> None:
        self._go.set()


# --- one request ---


async def test_an_answer_is_in_the_ledger_before_it_counts(
    open_run: Open, simulator: SimulatorControl, database_url: str
) -> None:
    async with open_run(simulator.url, database=database_url) as run:
        (outcome,) = await run.generate()
        (arrived,) = simulator.rows()
        assert (outcome.status, outcome.kind, outcome.error, outcome.attempts) == (Status.ACCEPTED, AnswerKind.OK, None, 1)
        assert outcome.usage == Usage(arrived["usage"]["input_tokens"], arrived["usage"]["output_tokens"])
        assert outcome.api_request_id == arrived["request_id"]
        spent = cost_pico(outcome.usage, PRICE)
        assert outcome.cost_usd == usd(spent)
        columns = (
            "attempt",
            "status",
            "billing",
            "api_key",
            "provider",
            "cost_pico",
            "reserved_pico",
            "input_tokens",
            "output_tokens",
        )
        assert run.logs(*columns) == [
            (
                1,
                "succeeded",
                "billed",
                fingerprint(KEY),
                "simulator",
                spent,
                0,
                outcome.usage.input_tokens,
                outcome.usage.output_tokens,
            )
        ]
        assert run.states() == {"held": 1}
        assert [run.budget(scope) for scope in ("run", "dataset", "day")] == [(0, spent, 0)] * 3
        assert (run.control.tally["generated"], run.control.cost_pico, run.control.stopped) == (1, spent, None)


async def test_each_attempt_is_a_row_and_the_last_brings_the_answer(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script("529", {"kind": "529"}, "ok")
    async with open_run(simulator.url) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.attempts) == (Status.ACCEPTED, 3)
        assert run.logs("attempt", "status", "billing", "http_status", "error_kind") == [
            (1, "failed", "none", 529, "overloaded_error"),
            (2, "failed", "none", 529, "overloaded_error"),
            (3, "succeeded", "billed", None, None),
        ]
        assert [row[0] for row in run.rows("SELECT attempt FROM answers")] == [3]
        assert len(simulator.rows()) == 3


async def test_attempts_are_numbered_on_over_runs(open_run: Open, simulator: SimulatorControl, database_url: str) -> None:
    simulator.script("500", "502", "408")
    async with open_run(simulator.url, database=database_url, name="first") as run:
        (outcome,) = await run.generate()
        assert (outcome.status, type(outcome.error), outcome.attempts) == (Status.PENDING, TransientError, 3)
        assert run.states() == {"pending": 1}
    simulator.script("409")
    async with open_run(simulator.url, database=database_url, name="second") as run:
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.attempts) == (Status.ACCEPTED, 2)
        assert run.logs("attempt", "run_id", "http_status") == [
            (1, "first", 500),
            (2, "first", 502),
            (3, "first", 408),
            (4, "second", 409),
            (5, "second", None),
        ]


async def test_overload_is_waited_out_beyond_the_attempts_of_a_fault(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script(*["529"] * 6)
    async with open_run(simulator.url, retry={"max_attempts": 2, "max_delay_seconds": 0.02}) as run:
        (outcome,) = await run.generate()
    assert (outcome.status, outcome.attempts) == (Status.ACCEPTED, 7)


async def test_a_429_holds_everybody_back_for_as_long_as_the_api_says(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script({"kind": "429", "retry_after": 0.5}, match=match(0))
    async with open_run(simulator.url) as run:
        (first, second) = run.claim(2)
        tasks = run.start(first)
        await eventually(lambda: len(run.limiter.settled) == 1)
        tasks += run.start(second)
        outcomes = await asyncio.gather(*tasks)
    assert [outcome.attempts for outcome in outcomes] == [2, 1]
    arrived = [row["arrived_monotonic"] for row in simulator.rows()]
    assert min(arrived[1:]) - arrived[0] >= 0.5


async def test_a_429_holds_them_back_before_it_is_written_down(
    open_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.script({"kind": "429", "retry_after": 0.2})
    async with open_run(simulator.url) as run:
        held = HeldLedger(run.ledger, finish_attempts, monkeypatch)
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: held.waiting == 1)
        assert run.limiter.status().is_paused
        held.go()
        assert (await task).status is Status.ACCEPTED


async def test_what_can_never_work_fails_with_its_reason(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script("413")
    async with open_run(simulator.url) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, type(outcome.error), outcome.attempts) == (Status.FAILED, RejectedError, 1)
        ((state, reason, fingerprint),) = run.rows("SELECT state, reason, fingerprint FROM requests")
        assert (state, reason) == ("failed", outcome.reason)
        assert "413" in reason and len(fingerprint) == 64
        assert run.control.stopped is None


@pytest.mark.parametrize(
    ("fault", "kind", "error"),
    [
        ("prose", AnswerKind.PARSE_ERROR, ParseError),
        ("wrong_roles", AnswerKind.INVALID, GenerationValidationError),
        ("truncation", AnswerKind.TRUNCATED, GenerationValidationError),
        ("refusal", AnswerKind.REFUSED, GenerationValidationError),
        ("overflow", AnswerKind.CONTEXT_OVERFLOW, GenerationValidationError),
    ],
)
async def test_an_answer_without_a_conversation_is_paid_kept_and_not_asked_for_again(
    open_run: Open, simulator: SimulatorControl, fault: Any, kind: AnswerKind, error: type[Exception]
) -> None:
    simulator.script(fault)
    async with open_run(simulator.url) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.kind, type(outcome.error), outcome.attempts) == (Status.DROPPED, kind, error, 1)
        assert outcome.cost_usd > 0
        ((stored, turns, raw, reason),) = run.rows("SELECT kind, turns, raw_text, reason FROM answers")
        assert (stored, turns, reason) == (kind, None, outcome.reason)
        assert (raw == "") == (kind is AnswerKind.REFUSED)
        assert run.logs("billing", "output_tokens") == [("billed", billed(simulator)["output_tokens"])]


async def test_an_answer_with_a_letter_that_a_database_does_not_take_is_kept_without_it(
    open_run: Open, simulator: SimulatorControl, database_url: str
) -> None:
    simulator.script({"kind": "ok", "text": "\0 no conversation"})
    async with open_run(simulator.url, database=database_url) as run:
        (outcome,) = await run.generate()
        assert outcome.kind is AnswerKind.PARSE_ERROR
        assert [row[0] for row in run.rows("SELECT raw_text FROM answers")] == ["\ufffd no conversation"]


@pytest.mark.parametrize("fault", ["html", "broken_json", "reset", "hang"])
async def test_what_broke_on_the_way_may_have_been_billed_and_counts_at_its_worst(
    open_run: Open, simulator: SimulatorControl, fault: str
) -> None:
    simulator.script(fault)
    async with open_run(simulator.url, retry={"timeout_seconds": 0.4}) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.attempts) == (Status.ACCEPTED, 2)
        assert run.logs("status", "billing", "cost_pico") == [
            ("failed", "maybe", 0),
            ("succeeded", "billed", cost_pico(outcome.usage, PRICE)),
        ]
        assert run.budget() == (0, cost_pico(outcome.usage, PRICE), RESERVE)


# --- stopping ---


async def test_ten_of_the_same_refusal_in_a_row_stop_the_run(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script(*["400"] * 20)
    async with open_run(simulator.url) as run:
        jobs = run.claim(SAME_REJECTION_LIMIT + 1)
        for one in jobs[:-1]:
            assert run.control.stopped is None
            await run.start(one)[0]
        assert run.control.fatal
        assert f"{SAME_REJECTION_LIMIT} requests in a row" in (run.control.stopped or "")
        last = await run.start(jobs[-1])[0]
        assert (last.status, type(last.error)) == (Status.PENDING, LimiterClosed)
        assert run.states() == {"failed": SAME_REJECTION_LIMIT, "pending": 1}
    assert len(simulator.rows()) == SAME_REJECTION_LIMIT


async def test_a_longer_wait_than_there_is_patience_for_ends_the_run_short_and_is_kept_no_longer_than_the_patience(
    open_run: Open, simulator: SimulatorControl
) -> None:
    simulator.script({"kind": "429", "retry_after": 999_999})
    async with open_run(simulator.url, retry={"patience_seconds": 60}) as run:
        outcomes = await run.generate(3)
        assert {outcome.status for outcome in outcomes} <= {Status.PENDING, Status.ACCEPTED}
        assert not run.control.fatal
        assert (run.control.stopped or "").startswith("the API asks to wait 11 days 13 h, until 20")
        (key,) = run.limiter._keys
        assert 0 < key.held_until - time.monotonic() <= 60


async def test_where_one_key_has_to_rest_for_long_the_other_goes_on(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script({"kind": "429", "retry_after": 999_999})
    async with open_run(simulator.url, keys=(KEY, OTHER)) as run:
        outcomes = [*await run.generate(1), *await run.generate(4, first=1)]
        assert {outcome.status for outcome in outcomes} == {Status.ACCEPTED}
        assert run.control.stopped is None
        keys = Counter(row[0] for row in run.logs("api_key"))
        assert min(keys.values()) == 1  # the one that has to rest was asked once


async def test_what_the_server_wants_no_second_attempt_for_is_made_once_in_a_run(
    open_run: Open, simulator: SimulatorControl
) -> None:
    simulator.script({"kind": "529", "headers": {"x-should-retry": "false"}})
    async with open_run(simulator.url) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.attempts) == (Status.PENDING, 1)
        assert len(run.control.final) == 1


async def test_an_answer_of_another_model_is_kept_priced_and_named_as_what_it_is(
    open_run: Open, simulator: SimulatorControl
) -> None:
    opus, snapshot = {"model": "claude-opus-5-5"}, {"model": f"{MODEL}-20260901"}
    simulator.script(*({"kind": "ok", "fields": fields} for fields in (opus, {"model": "house-model-7"}, snapshot)))
    async with open_run(simulator.url, allow_other_model=True) as run:
        for one in run.claim(3):
            assert (await run.start(one)[0]).status is Status.ACCEPTED
        assert run.control.stopped is None
        known, unknown, same = run.logs(
            "model", "answered_model", "price", "billing", "cost_pico", "maybe_pico", "input_tokens", "output_tokens"
        )
        dear = price_of("claude-opus-5-5")
        assert known[:4] == ("claude-opus-5-5", "claude-opus-5-5", dear.text, "billed")
        assert known[4] == cost_pico(Usage(*known[6:]), dear)
        assert unknown[:5] == ("house-model-7", "house-model-7", PRICE.text, "maybe", 0)
        assert unknown[5] >= RESERVE
        assert same[:4] == (MODEL, snapshot["model"], PRICE.text, "billed")
        assert run.budget() == (0, known[4] + same[4], unknown[5])
        remarks = run.ledger.read(read_remarks, run.run_id, MODEL)
        assert remarks == Remarks(0, {"claude-opus-5-5": 1, "house-model-7": 1})


async def test_a_conversation_without_usage_is_kept_as_maybe_billed_and_marked(
    open_run: Open, simulator: SimulatorControl, database_url: str
) -> None:
    simulator.script({"kind": "ok", "without": ["usage"]})
    async with open_run(simulator.url, database=database_url) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.attempts, outcome.cost_usd) == (Status.ACCEPTED, 1, 0)
        ((status, billing, known, pico),) = run.logs("status", "billing", "usage_known", "maybe_pico")
        assert (status, billing, bool(known), pico) == ("succeeded", "maybe", False, RESERVE)
        assert run.budget() == (0, 0, RESERVE)
        assert run.ledger.read(read_remarks, run.run_id, MODEL).without_usage == 1
        assert run.states() == {"held": 1}


@pytest.mark.parametrize("other", ["ok", "413"])
async def test_nine_and_another_end_do_not_stop_it(open_run: Open, simulator: SimulatorControl, other: str) -> None:
    simulator.script(*["400"] * 9, other, *["400"] * 9)
    async with open_run(simulator.url) as run:
        for one in run.claim(19):
            await run.start(one)[0]
        assert run.control.stopped is None


@pytest.mark.parametrize("fault", ["402", "403", {"kind": "429", "error_code": "enforced_spend_limit_reached"}])
async def test_doom_stops_the_run_and_what_is_in_flight_is_kept(open_run: Open, slow: SimulatorControl, fault: Any) -> None:
    slow.script(fault, match=match(3))
    async with open_run(slow.url, limits={"max_requests": 5}) as run:  # four may go at once
        outcomes = await run.generate(6)
        assert run.control.fatal
        assert [outcome.status for outcome in outcomes] == [Status.ACCEPTED] * 3 + [Status.PENDING] * 3
        assert [type(outcome.error) for outcome in outcomes[3:]] == [FatalAPIError, LimiterClosed, LimiterClosed]
        assert [outcome.attempts for outcome in outcomes] == [1, 1, 1, 1, 0, 0]
        assert run.states() == {"held": 3, "pending": 3}
        assert len(run.logs("attempt")) == len(slow.rows()) == 4


async def test_stopped_while_it_waits_at_the_gate_a_request_stays_pending_and_is_not_sent(
    open_run: Open, slow: SimulatorControl
) -> None:
    async with open_run(slow.url, limits={"max_requests": 2}) as run:
        tasks = run.start(*run.claim(3))
        await eventually(lambda: run.limiter.status().queue_length == 2)
        run.control.stop("stopped by Ctrl-C")
        outcomes = await asyncio.gather(*tasks)
        assert [outcome.status for outcome in outcomes] == [Status.ACCEPTED, Status.PENDING, Status.PENDING]
        assert {outcome.reason for outcome in outcomes[1:]} == {"stopped by Ctrl-C"}
        assert run.states() == {"held": 1, "pending": 2}
    assert len(slow.rows()) == 1


async def test_a_request_that_waits_to_be_tried_again_does_not_hold_a_stop_up(
    open_run: Open, simulator: SimulatorControl
) -> None:
    simulator.script({"kind": "529", "retry_after": 200})
    async with open_run(simulator.url) as run:
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: run.logs("status") == [("failed",)])
        begun = time.monotonic()
        run.control.stop("stopped by Ctrl-C")
        outcome = await task
        assert time.monotonic() - begun < 3
        assert (outcome.status, outcome.attempts) == (Status.PENDING, 1)
        assert run.states() == {"pending": 1}


async def test_a_gate_that_fails_by_itself_stops_the_run(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url) as run:
        run.limiter.close("a limit was deleted")
        (outcome,) = await run.generate()
        assert (outcome.status, outcome.attempts, run.control.stopped) == (Status.PENDING, 0, "a limit was deleted")


async def test_with_the_queue_off_a_request_too_many_stays_pending(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, limits={"max_requests": 2, "queue": False}) as run:
        outcomes = await run.generate(2)
        assert [type(outcome.error) for outcome in outcomes] == [type(None), RateLimitError]
        assert [outcome.attempts for outcome in outcomes] == [1, 0]
        assert run.states() == {"held": 1, "pending": 1}
        assert run.control.stopped is None


async def test_a_request_larger_than_a_limit_is_told_and_given_back(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, limits={"max_requests": 9, "input_tokens": 10}) as run:
        with pytest.raises(ConfigError, match="wait for ever"):
            await run.generate()
        assert run.states() == {"pending": 1}


# --- keys ---


async def test_a_key_that_is_refused_is_dropped_and_the_run_goes_on_with_the_other(
    open_run: Open, simulator: SimulatorControl
) -> None:
    async with open_run(simulator.url, keys=(WRONG, KEY)) as run:
        outcomes = await run.generate(8)
        assert {outcome.status for outcome in outcomes} == {Status.ACCEPTED}
        more = await run.generate(4, first=8)
        assert [outcome.attempts for outcome in more] == [1] * 4
        assert run.control.stopped is None
        logs = run.logs("http_status", "api_key")
    refused = [key for status, key in logs if status == 401]
    assert 1 <= len(refused) <= 8
    assert set(refused) == {fingerprint(WRONG)}
    assert {row["key"] for row in simulator.rows() if row["billed"]} == {fingerprint(KEY)}


async def test_without_a_key_left_the_run_is_doomed(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, keys=(WRONG, WRONG + "2")) as run:
        outcomes = await run.generate(4)
        assert {outcome.status for outcome in outcomes} == {Status.PENDING}
        assert run.control.fatal and "401" in (run.control.stopped or "")
        assert run.states() == {"pending": 4}
        before = len(simulator.rows())
        await run.generate(1, first=4)
    assert len(simulator.rows()) == before <= 8


async def test_a_key_that_a_server_echoes_is_not_in_the_ledger(open_run: Open, tmp_path: Path) -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        said = f"{request.headers['authorization']} is wrong"
        return web.json_response({"error": {"type": said, "message": said}}, status=400, headers={"request-id": said})

    secret = "sk-ant-0123456789-secret"
    runner = web.ServerRunner(web.Server(echo))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with open_run(f"http://127.0.0.1:{runner.addresses[0][1]}", keys=(secret,), provider="anthropic") as run:
            (outcome,) = await run.generate()
            assert "is wrong" in outcome.reason
            assert secret not in repr(outcome)
    finally:
        await runner.cleanup()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]


# --- who answers ---


async def test_a_simulator_in_place_of_the_api_stops_the_run_and_is_booked_as_what_it_is(
    open_run: Open, simulator: SimulatorControl
) -> None:
    async with open_run(simulator.url, provider="anthropic") as run:
        (outcome,) = await run.generate()
        assert (outcome.status, type(outcome.error)) == (Status.PENDING, FatalAPIError)
        assert run.control.fatal and "simulator" in (run.control.stopped or "")
        arrived = simulator.rows()[0]["usage"]
        spent = cost_pico(Usage(arrived["input_tokens"], arrived["output_tokens"]), PRICE)
        assert run.logs("status", "billing", "provider", "cost_pico", "output_tokens") == [
            ("failed", "billed", "simulator", spent, arrived["output_tokens"])
        ]
        assert run.rows("SELECT * FROM answers") == []
        assert run.states() == {"pending": 1}
        await run.generate(1, first=1)
    assert len(simulator.rows()) == 1


# --- budget ---


def dollars(calls: float) -> float:
    """A budget for so many calls at their worst, rounded to what a spec takes."""
    return round(calls * RESERVE / 10**12, 6)


async def test_a_call_is_reserved_at_its_worst_before_and_settled_at_its_price_after(
    open_run: Open, slow: SimulatorControl
) -> None:
    async with open_run(slow.url, budget={"run_usd": 5}) as run:
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: len(slow.rows()) == 1)
        assert run.budget() == (RESERVE, 0, 0)
        assert run.logs("status", "billing", "reserved_pico") == [("open", "maybe", RESERVE)]
        outcome = await task
        assert run.budget() == (0, cost_pico(outcome.usage, PRICE), 0)


async def test_a_request_waits_while_calls_in_flight_may_give_room_back(
    open_run: Open, slow: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.generation.generator.LOOK_AGAIN_SECONDS", 20)
    async with open_run(slow.url, budget={"run_usd": dollars(2.5)}) as run:
        begun = time.monotonic()
        outcomes = await run.generate(5)  # two at once
        seconds = time.monotonic() - begun
        assert {outcome.status for outcome in outcomes} == {Status.ACCEPTED}
        assert 3 * SLOW_SECONDS <= seconds < 10
        assert run.control.stopped is None
    arrived = sorted(row["arrived_monotonic"] for row in slow.rows())
    assert all(third - first >= SLOW_SECONDS - 0.05 for first, third in zip(arrived, arrived[2:], strict=False))


async def test_a_budget_that_is_used_up_stops_the_run_and_is_not_passed(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, budget={"run_usd": dollars(2.5)}) as run:
        outcomes = await run.generate(60)
        reserved, spent, maybe = run.budget()
        assert (reserved, maybe) == (0, 0)
        assert 1.5 * RESERVE <= spent <= 2.5 * RESERVE
        assert run.control.stopped is not None and run.control.stopped.startswith("run budget reached at $")
        assert not run.control.fatal
        made = [outcome for outcome in outcomes if outcome.status is Status.ACCEPTED]
        assert run.states() == {"held": len(made), "pending": 60 - len(made)}
        assert {type(outcome.error) for outcome in outcomes} == {type(None), BudgetExceeded, LimiterClosed}
        assert all(outcome.attempts == 0 for outcome in outcomes if outcome.error)
    assert len(simulator.rows()) == len(made)


async def test_what_may_have_been_billed_counts_against_the_budget(open_run: Open, simulator: SimulatorControl) -> None:
    simulator.script("html", "html", "html")
    async with open_run(simulator.url, budget={"run_usd": dollars(2.5)}) as run:
        (outcome,) = await run.generate()
        assert (outcome.status, type(outcome.error), outcome.attempts) == (Status.PENDING, BudgetExceeded, 2)
        assert run.budget() == (0, 0, 2 * RESERVE)


async def test_waiting_for_room_takes_little_of_the_rate(open_run: Open, slow: SimulatorControl) -> None:
    async with open_run(slow.url, budget={"run_usd": dollars(2.5)}) as run:
        await run.generate(8)
        # one for each call, one for each first refusal, and now and then one that found the room just taken
        assert len(run.limiter.given) <= 8 + 6 + 4


async def test_a_stop_ends_the_wait_for_room_at_once_for_all(open_run: Open, slow: SimulatorControl) -> None:
    slow.script("hang")
    async with open_run(slow.url, budget={"run_usd": dollars(1.5)}, retry={"timeout_seconds": 2, "max_attempts": 1}) as run:
        tasks = run.start(*run.claim(8))
        await eventually(lambda: len(run.limiter.given) == 8)
        await asyncio.sleep(0.1)
        run.control.stop("stopped by Ctrl-C")
        await eventually(lambda: sum(task.done() for task in tasks) == 7, 0.4)


async def test_room_that_another_process_gives_back_is_noticed(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, budget={"dataset_usd": dollars(1.5)}) as run:
        ours, theirs = run.claim(2)
        now = datetime.now(UTC)
        intent = Intent(
            request_id=theirs.request_id,
            attempt=1,
            run_id="another",
            dataset_id=run.dataset,
            owner="another",
            provider="simulator",
            model=MODEL,
            template="advice",
            api_key=None,
            price=PRICE.text,
            started_at=now,
            reserve_pico=RESERVE,
            limits=dict.fromkeys(list_budget_scopes("another", run.dataset, now)),
        )
        assert run.ledger.write(start_attempts, [intent]) == [None]
        (task,) = run.start(ours)
        await eventually(lambda: len(run.limiter.settled) == 1)
        assert not (await asyncio.wait([task], timeout=0.7))[0]
        done = Completion(intent, status="failed", billing="none", finished_at=now, latency_ms=1)
        run.ledger.write(finish_attempts, [done])
        outcome = await asyncio.wait_for(task, 3)
        assert outcome.status is Status.ACCEPTED


async def test_a_full_budget_is_one_caller_s_affair_where_many_share_a_generator(
    open_run: Open, simulator: SimulatorControl
) -> None:
    async with open_run(simulator.url, control=LastingRunState(), budget={"day_usd": dollars(0.9)}) as run:
        outcomes = await run.generate(4)
        assert {type(outcome.error) for outcome in outcomes} == {BudgetExceeded}
        assert run.control.stopped is None
        small = Job(
            run.claim(1, first=9)[0], prompt(9), run.spec.generation.model_copy(update={"max_tokens": 2048}), "advice", "1/x"
        )
        assert (await run.generator.generate(small)).status is Status.ACCEPTED


# --- callers that leave ---


async def test_a_caller_that_leaves_does_not_take_its_call_along(open_run: Open, slow: SimulatorControl) -> None:
    async with open_run(slow.url) as run:
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: len(slow.rows()) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(run.control.in_flight) == 1
        assert await run.generator.drain(0.01) == 1
        assert await run.generator.drain(5) == 0
        assert run.logs("status", "output_tokens") == [("succeeded", billed(slow)["output_tokens"])]
        assert run.states() == {"held": 1}


async def test_a_caller_that_leaves_at_the_gate_takes_its_place_along(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, limits={"max_requests": 2}) as run:
        await run.generate(1)
        (task,) = run.start(*run.claim(1, first=1))
        await eventually(lambda: run.limiter.status().queue_length == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert run.limiter.status().queue_length == 0
    assert len(simulator.rows()) == 1


async def test_a_caller_that_leaves_while_its_call_is_being_written_down_leaves_no_reservation_behind(
    open_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_run(simulator.url) as run:
        held = HeldLedger(run.ledger, start_attempts, monkeypatch)
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: held.waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.go()
        assert await run.generator.drain(5) == 0
        assert run.budget()[0] == 0
        assert run.logs("status") == [("succeeded",)]
        assert run.states() == {"held": 1}


async def test_draining_waits_for_what_has_passed_the_gate_and_is_not_sent_yet(
    open_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_run(simulator.url) as run:
        held = HeldLedger(run.ledger, start_attempts, monkeypatch)
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: held.waiting == 1)
        run.control.stop("stopped by Ctrl-C")
        draining = asyncio.create_task(run.generator.drain(5))
        await asyncio.sleep(0.05)
        assert not draining.done()
        held.go()
        assert await draining == 0
        assert (await task).status is Status.ACCEPTED


# --- what must not happen ---


async def test_a_ledger_that_takes_no_answers_stops_the_run(
    open_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_run(simulator.url, limits={"max_requests": 4}) as run:  # three may go at once
        held = HeldLedger(run.ledger, finish_attempts, monkeypatch)  # however long it takes, no answer is written down before
        *jobs, last = run.claim(7)
        tasks = run.start(*jobs)
        await eventually(lambda: held.waiting == 3)
        run.ledger.write(lambda connection: connection.execute(text("DROP TABLE answers")))
        held.go()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in ended[:3]] == [LedgerError] * 3
        assert [one.status for one in ended[3:] if isinstance(one, Outcome)] == [Status.PENDING] * 3
        assert "answers" in (run.control.stopped or "")
        assert run.logs("status", "billing") == [("open", "maybe")] * 3  # not known to be paid, and not taken for free
        assert type((await run.start(last)[0]).error) is LimiterClosed
    assert len(simulator.rows()) == 3


async def test_nothing_is_sent_that_cannot_be_written_down_first(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url) as run:
        await run.generate(1)
        jobs = run.claim(3, first=1)
        run.ledger.write(lambda connection: connection.execute(text("ALTER TABLE generation_logs RENAME TO elsewhere")))
        ended = await asyncio.gather(*run.start(*jobs), return_exceptions=True)
        assert LedgerError in {type(one) for one in ended}
        assert run.control.stopped is not None
        run.ledger.write(lambda connection: connection.execute(text("ALTER TABLE elsewhere RENAME TO generation_logs")))
    assert len(simulator.rows()) == 1


async def test_where_many_share_a_generator_a_ledger_that_is_back_is_used_again(
    open_run: Open, simulator: SimulatorControl
) -> None:
    async with open_run(simulator.url, control=LastingRunState()) as run:
        jobs = run.claim(1)
        run.ledger.write(lambda connection: connection.execute(text("ALTER TABLE generation_logs RENAME TO elsewhere")))
        with pytest.raises(LedgerError):
            await run.start(*jobs)[0]
        run.ledger.write(lambda connection: connection.execute(text("ALTER TABLE elsewhere RENAME TO generation_logs")))
        (outcome,) = await run.generate(1, first=1)
        assert outcome.status is Status.ACCEPTED


async def test_a_fault_of_ours_after_the_answer_reaches_the_caller_and_the_answer_is_booked_as_paid(
    open_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("convoforge.generation.recording.parse_conversation", broken)
    async with open_run(simulator.url) as run:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await run.generate()
        tokens = billed(simulator)
        assert run.logs("status", "billing", "error_kind", "output_tokens") == [
            ("failed", "billed", "ZeroDivisionError", tokens["output_tokens"])
        ]
        assert run.states() == {"pending": 1}
        assert run.budget()[0] == 0
        assert "a bug" in (run.control.stopped or "")
        await run.generate(1, first=1)
    assert len(simulator.rows()) == 1


async def test_a_fault_of_ours_during_the_call_may_have_been_billed(
    open_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Claude, "send", broken)
    async with open_run(simulator.url) as run:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await run.generate()
        assert run.logs("status", "billing", "error_kind") == [("failed", "maybe", "ZeroDivisionError")]
        assert run.states() == {"pending": 1}
        assert run.budget() == (0, 0, RESERVE)


async def test_a_fault_of_ours_stops_the_run_also_where_the_caller_has_left(
    open_run: Open, slow: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("convoforge.generation.recording.parse_conversation", broken)
    async with open_run(slow.url) as run:
        (task,) = run.start(*run.claim(1))
        await eventually(lambda: len(slow.rows()) == 1)
        task.cancel()
        assert await run.generator.drain(5) == 0
        assert "a bug" in (run.control.stopped or "")


async def test_a_prompt_that_cannot_be_sent_is_given_back_and_nothing_is_reserved(
    open_run: Open, simulator: SimulatorControl
) -> None:
    async with open_run(simulator.url) as run:
        job = Job(run.claim(1)[0], Prompt("s", "half a pair: \ud800"), run.spec.generation, "advice", "1/x")
        with pytest.raises(UnicodeEncodeError):
            await run.generator.generate(job)
        assert run.states() == {"pending": 1}
        assert run.logs("attempt") == []
    assert simulator.rows() == []


# --- everything at once ---

STORM = {
    "429": 0.03, "500": 0.03, "503": 0.02, "529": 0.04, "408": 0.01, "409": 0.01, "400": 0.02, "html": 0.02, "broken_json": 0.02,
    "reset": 0.03, "hang": 0.01, "prose": 0.02, "truncation": 0.02, "refusal": 0.02,
}  # fmt: skip


@pytest.mark.server
async def test_in_a_storm_of_faults_the_costs_agree_to_the_token(open_run: Open) -> None:
    count = 300
    with simulator_process(latency_ms=10, jitter_ms=10, fault_rate=STORM, seed=11) as url:
        simulator = SimulatorControl(url)
        retry = {"timeout_seconds": 4, "max_delay_seconds": 0.05}
        ended: Counter[str] = Counter()
        for number in range(3):
            async with open_run(url, name=f"run{number}", retry=retry, budget={"dataset_usd": 100}) as run:
                slots = asyncio.Semaphore(40)

                async def one(claimed: Claimed, run: Run = run, slots: asyncio.Semaphore = slots) -> None:
                    async with slots:
                        ended[(await run.generator.generate(run.job(claimed))).status] += 1

                await asyncio.gather(*(one(claimed) for claimed in run.claim(count)))
                assert run.control.stopped is None
        usage = simulator.usage()
        delivered, undelivered = usage["billed_delivered"], usage["billed_undelivered"]
        ((requests, inputs, outputs),) = run.rows(
            "SELECT count(*), sum(input_tokens), sum(output_tokens) FROM generation_logs WHERE billing = 'billed'"
        )
        assert (requests, inputs, outputs) == tuple(delivered[name] for name in ("requests", "input_tokens", "output_tokens"))
        ((maybe, pico),) = run.rows("SELECT count(*), sum(cost_pico) FROM generation_logs WHERE billing = 'maybe'")
        assert maybe == undelivered["requests"] + usage["outcomes"]["html"] > 0  # a web page may hide an answer that was paid
        assert pico == 0
        assert len(run.logs("attempt")) == usage["requests"] > count
        ((spent,),) = run.rows("SELECT sum(cost_pico) FROM generation_logs")
        assert run.budget("dataset") == (0, spent, maybe * RESERVE - surplus(run))
        assert sum(run.states().values()) == count
        assert run.states().get("claimed", 0) == 0
        assert run.states()["held"] == requests == run.rows("SELECT count(*) FROM answers")[0][0]
        attempts = run.rows("SELECT max(attempt) - count(*) FROM generation_logs GROUP BY request_id")
        assert {row[0] for row in attempts} == {0}  # numbered without a gap


def surplus(run: Run) -> int:
    """How much less the reservations of prompts with other lengths of their number were."""
    maybe = run.rows(
        "SELECT requests.cell FROM generation_logs JOIN requests ON requests.id = request_id WHERE billing = 'maybe' ORDER BY 1"
    )
    return sum(RESERVE - worst_cost_pico(prompt(int(row[0], 16)), 4096, PRICE) for row in maybe)


# --- thinking ---


async def test_what_is_thought_is_paid_written_down_and_part_of_the_output(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, generation={"thinking": "adaptive"}) as run:
        (outcome,) = await run.generate()
        ((status, output, thought, cost),) = run.logs("status", "output_tokens", "thinking_tokens", "cost_pico")
    billed = simulator.usage()["billed_delivered"]
    assert (status, output, thought) == ("succeeded", billed["output_tokens"], billed["thinking_tokens"])
    assert 0 < thought < output
    assert cost == cost_pico(outcome.usage, PRICE)


async def test_an_answer_that_thinking_cut_off_says_so_and_what_to_set(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url, generation={"thinking": "adaptive", "max_tokens": 600}) as run:
        (outcome,) = await run.generate()
        ((thought, output),) = run.logs("thinking_tokens", "output_tokens")
    assert outcome.kind is AnswerKind.TRUNCATED
    assert f"{thought:,} of its {output:,} tokens were thinking" in outcome.reason
    assert all(key in outcome.reason for key in ("generation.thinking", "generation.effort", "generation.max_tokens"))


async def test_without_a_word_in_the_spec_nothing_is_thought(open_run: Open, simulator: SimulatorControl) -> None:
    async with open_run(simulator.url) as run:
        await run.generate(3)
    assert simulator.usage()["billed_delivered"]["thinking_tokens"] == 0


# --- what else is billed ---


async def test_an_answer_from_the_united_states_is_priced_and_kept_as_such(
    open_run: Open, simulator: SimulatorControl, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.set_usage_fields(inference_geo="us")
    async with open_run(simulator.url, budget={"run_usd": 1}) as run:
        outcomes = await run.generate(3)
        rows = run.logs("inference_geo", "service_tier", "price", "billing", "cost_pico")
        budget = run.budget()
        remarks = run.ledger.read(read_remarks, run.run_id, MODEL)
    us = PRICE.raised(Decimal("1.1"))
    costs = [cost_pico(outcome.usage, us) for outcome in outcomes]
    assert Counter(rows) == Counter(("us", "standard", us.text, "billed", cost) for cost in costs)
    assert sum(outcome.cost_usd for outcome in outcomes) == usd(sum(costs))
    assert budget == (0, sum(costs), 0)
    assert remarks.terms == {Terms("us", "standard"): 3}
    assert [record.message for record in caplog.records if "1.1 ×" in record.message] == [
        "answers are billed with inference_geo 'us' (1.1 × on every token)"
    ]


async def test_terms_without_a_known_price_count_at_the_list_price_and_maybe_up_to_the_worst(
    open_run: Open, simulator: SimulatorControl, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.set_usage_fields(service_tier="priority", a_new_key={"of": "the API"})
    async with open_run(simulator.url, budget={"run_usd": 1}) as run:
        (outcome,) = await run.generate()
        ((tier, billing, cost, maybe),) = run.logs("service_tier", "billing", "cost_pico", "maybe_pico")
        budget = run.budget()
    listed = cost_pico(outcome.usage, PRICE)
    assert outcome.conversation is not None
    assert (tier, billing, cost, maybe) == ("priority", "maybe", listed, RESERVE - listed)
    assert budget == (0, listed, RESERVE - listed)
    assert "service_tier 'priority' (no price of it is known" in caplog.text


@pytest.mark.parametrize("tokens", [10**15, 3 * 10**9, 10_000_001, -1, 2**70, 1.5, "many"])
async def test_usage_that_cannot_be_true_is_that_answer_s_affair_alone(
    open_run: Open, simulator: SimulatorControl, tokens: Any
) -> None:
    async with open_run(simulator.url, budget={"run_usd": 1}) as run:
        for at, name in enumerate(("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")):
            simulator.reset()
            simulator.set_usage_fields(**{name: tokens})
            (outcome,) = await run.generate(first=at)
            assert outcome.conversation is not None  # it was paid, and is kept
        rows = run.logs("status", "billing", "usage_known", "input_tokens", "output_tokens", "maybe_pico")
        budget = run.budget()
    assert rows == [("succeeded", "maybe", False, 0, 0, RESERVE)] * 4
    assert budget == (0, 0, 4 * RESERVE)
