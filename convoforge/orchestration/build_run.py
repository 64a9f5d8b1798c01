"""A build in this process: what its tasks work with, and how far it is."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from time import monotonic

from prefect.logging import get_logger, get_run_logger
from prefect.runtime import flow_run

from convoforge.background import background_task
from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.estimate import Estimate
from convoforge.dataset.release import check_data_folder
from convoforge.dataset.status import find_stranded, plan_dataset, settle_plan
from convoforge.errors import ConfigError, LedgerError
from convoforge.generation.generator import Generator, Job, make_job
from convoforge.generation.message_batches import Batcher
from convoforge.generation.recent_answers import RecentAnswers
from convoforge.generation.run import open_run
from convoforge.generation.run_context import RunContext
from convoforge.generation.run_state import RunState
from convoforge.ledger import Ledger
from convoforge.ledger.requests import Claimed
from convoforge.ledger.runs import close_run, read_stop
from convoforge.models import Provider
from convoforge.orchestration.cancellation import handle_signals, watch_prefect
from convoforge.orchestration.claims import Claims
from convoforge.orchestration.rate_limiter import prefect_limiter
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.plan import Cell, Plan
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.pricing import usd
from convoforge.settings import Settings

GRACE_SECONDS = 10.0
"""Seconds, beyond one call's timeout, that a run waits for its calls in flight when it ends."""

WATCH_SECONDS = 2.0
"""Seconds until a process notices that the build it has joined is stopping."""

_TURN_SECONDS = 0.0005

_COLLECT_AFTER = 20_000
"""New objects between two looks for garbage in cycles: some ten megabytes of it at most."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment, for whoever watches. Money in US dollars, rates per minute."""

    dataset: str
    stage: str
    planned: int
    todo: int
    done: int
    accepted: int
    needs_revision: int
    dropped: int
    failed: int
    in_flight: int
    cost_usd: Decimal
    budget_usd: Decimal | None
    requests_per_minute: float
    limit_per_minute: float
    seconds_left: float | None
    waiting: str
    stopped: str | None


@dataclass(slots=True)
class BuildState(RunState):
    """What changes while a build runs.

    `elsewhere` counts its calls in flight in other processes, `in_batches` its dataset's requests in message batches, `collected` the
    answers that batches of earlier runs brought. `batch_notes` say what was wrong with batches that are over, `batch_troubles` with those
    that go on. `interrupted` is a stop that was asked for from outside. `estimate` is what the run was expected to cost.
    """

    stage: str = "planning"
    stale: int = 0
    todo: int = 0
    elsewhere: int = 0
    interrupted: bool = False
    generating_since: float | None = None
    estimate: Estimate | None = None
    in_batches: int = 0
    collected: int = 0
    batch_notes: list[str] = field(default_factory=list)
    batch_troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildRun:
    """A build in this process: its run's context, the plan, and who makes its calls. Only `state` changes; it is the context's own."""

    context: RunContext
    state: BuildState
    generator: Generator
    batcher: Batcher
    plan: Plan
    settings: Settings
    claims: Claims
    cells: Mapping[str, Cell]

    @property
    def run_id(self) -> str:
        """The run's id in the ledger."""
        return self.context.run_id

    @property
    def ledger(self) -> Ledger:
        """Where everything is written down."""
        return self.context.ledger

    @property
    def dataset_id(self) -> int:
        """The dataset's id in the ledger."""
        return self.context.dataset_id

    def job(self, claimed: Claimed) -> Job:
        """What a claimed draw sends today."""
        return make_job(self.plan, self.cells[claimed.cell], claimed)

    def interrupt(self, reason: str) -> None:
        """Stop, as somebody outside wishes."""
        self.state.interrupted = self.state.interrupted or self.state.stopped is None
        self.state.stop(reason)

    def know_accepted(self, status: DatasetStatus, but: Collection[int]) -> None:
        """What is accepted already, which a new answer can only repeat, `but` for requests that are made again."""
        if self.state.recent is not None:
            self.state.recent.know(draw.content_hash for draw in status.accepted if draw.request_id not in but)

    def give_up(self) -> None:
        """Wait for no call in flight any more. Each may have been billed, and is kept as such."""
        for call in self.state.in_flight:
            call.cancel()

    def progress(self) -> Progress:
        """Where the run is now."""
        tally, spec = self.state.tally, self.plan.spec
        failed = len(self.state.unanswered)
        done = tally["generated"] + failed
        spent = monotonic() - self.state.generating_since if self.state.generating_since else 0.0
        rate = done / spent if spent > 0.5 else 0.0
        left = max(0, self.state.todo - done)
        return Progress(
            dataset=spec.name,
            stage=self.state.stage,
            planned=self.plan.planned,
            todo=self.state.todo,
            done=done,
            accepted=tally["accepted"],
            needs_revision=tally["needs_revision"],
            dropped=tally["dropped"],
            failed=failed,
            in_flight=len(self.state.in_flight) + self.state.elsewhere,
            cost_usd=usd(self.state.cost_pico),
            budget_usd=spec.budget.run_usd,
            requests_per_minute=rate * 60,
            limit_per_minute=spec.limits.max_requests * 60 / spec.limits.window_seconds,
            seconds_left=left / rate if rate else None,
            waiting=self.ledger.waiting or self.context.limiter.waiting,
            stopped=self.state.stopped,
        )


_CURRENT: ContextVar[BuildRun] = ContextVar("convoforge_build_run")
_OPEN: list[BuildRun] = []


def current_run() -> BuildRun:
    """The build that this code runs in: how tasks find it, as they find Prefect's own context. Raises `ConfigError` outside a build."""
    try:
        return _CURRENT.get()
    except LookupError:
        raise ConfigError("no build is open here: start a build instead of its tasks") from None


def watch_progress() -> Progress | None:
    """The progress of the newest build of this process, for whoever watches from outside of it."""
    return _OPEN[-1].progress() if _OPEN else None


@asynccontextmanager
async def open_build_run(
    spec: DatasetSpec,
    *,
    simulate: bool,
    settings: Settings | None = None,
    part_of: str | None = None,
    strand: float = 1.0,
    sends: bool = True,
) -> AsyncIterator[BuildRun]:
    """Everything a run needs, checked before a cent is spent, and closed again whatever happens. `part_of` is a run that another
    process has begun: this one takes part in it, and stops when that run does. `strand` is the share of the accepted conversations
    that a change of the spec may take out of the dataset. Without `sends` no request will be made, and the model may be gone.

    Raises `ConfigError`, `FatalAPIError` or `LedgerError`, or `ConvoforgeError` for an object store: one line each, for a person.
    """
    settings = settings or Settings()
    provider: Provider = "simulator" if simulate else "anthropic"
    plan = await asyncio.to_thread(_plan, spec, settings, provider, part_of, strand)
    if part_of is None:  # who takes part publishes nothing
        await asyncio.to_thread(check_data_folder, settings.data_dir, plan)
    state = BuildState(recent=RecentAnswers(_how_to_look(plan)))
    log = get_run_logger() if flow_run.id else get_logger()
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(
            open_run(
                spec,
                provider=provider,
                price=plan.price,
                settings=settings,
                run_state=state,
                concurrency=spec.limits.concurrency,
                open_limiter=prefect_limiter(log),
                flow_run_id=str(flow_run.id) if flow_run.id else None,
                part_of=part_of,
                sends=sends,
                log=log,
            )
        )
        if run.context.facts != plan.facts:  # the API says otherwise than was known before
            plan = await asyncio.to_thread(_plan, spec, settings, provider, part_of, strand, run.context.facts)
        if part_of is None:
            plan = await asyncio.to_thread(
                settle_plan, run.context.ledger, run.context.dataset_id, run.context.run_id, plan, datetime.now(UTC)
            )
        opened = BuildRun(
            context=run.context,
            state=state,
            generator=run.generator,
            batcher=run.batcher,
            plan=plan,
            settings=settings,
            claims=Claims(ceil(1.5 * spec.limits.concurrency)),
            cells={cell.key: cell for cell in plan.cells},
        )
        token = _CURRENT.set(opened)
        stack.callback(_CURRENT.reset, token)
        _OPEN.append(opened)
        stack.callback(_OPEN.remove, opened)
        if part_of is None:
            stack.push(_close_unfinished(opened))
        else:
            await stack.enter_async_context(background_task(_watch_run(opened)))
        await stack.enter_async_context(watch_prefect(opened.interrupt))
        stack.enter_context(handle_signals(opened.interrupt, opened.give_up))
        stack.push_async_callback(run.generator.drain, spec.retry.timeout_seconds + GRACE_SECONDS)
        stack.enter_context(_light_collections())
        stack.enter_context(_short_turns())
        yield opened


def _plan(
    spec: DatasetSpec,
    settings: Settings,
    provider: Provider,
    part_of: str | None,
    strand: float,
    facts: ModelFacts | None = None,
) -> Plan:
    """The plan for what the ledger holds. Raises `ConfigError` where it would leave more of the dataset behind than may be."""
    with Ledger(settings.database_url) as ledger:
        plan = plan_dataset(ledger, spec, Library.at(settings.config_dir), provider, run=part_of, facts=facts)
        gone = find_stranded(ledger, plan) if part_of is None and strand < 1 else None
    if gone is not None and gone.share > strand:
        raise ConfigError(
            f"{gone}; more than {strand:.0%} is not taken out without being asked: undo the change, or build once with "
            f"`convoforge build {spec.name} --yes`, or with the parameter strand=1"
        )
    return plan


def _how_to_look(plan: Plan) -> str:
    simulated = " --simulated" if plan.provider == "simulator" else ""
    return (
        f"`convoforge show {plan.spec.name} --rejected{simulated}` prints them: change the templates, `generation` or `quality`. "
        "Another build stops after as many more"
    )


async def _watch_run(opened: BuildRun) -> None:
    """Stop when the run stops that this process takes part in. It says so in the ledger: a Cancel in Prefect would kill this process
    30 s later, with the calls it has in flight."""
    while True:
        with suppress(LedgerError):  # the calls themselves find out about a ledger that is away
            if over := await opened.ledger.aread(read_stop, opened.run_id, datetime.now(UTC)):
                opened.interrupt(f"the build stops: {over}")
                return
        await asyncio.sleep(WATCH_SECONDS)


@contextmanager
def _light_collections() -> Iterator[None]:
    """Let the garbage collector seldom look, and never at what imports have made: a full collection walks half a million objects of
    Prefect and the SDK, and thousands of calls bring many (4,000 conversations: 16.4 → 10.9 s of CPU without, measured), the small
    ones that 700 new objects trigger were another sixth."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take turns every half millisecond. The ledger's thread lets go of the interpreter at every row it writes, and would
    wait 5 ms each time to have it back while answers come in: places in flight stayed empty (5,000 conversations: 11.1 → 10.3 s)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _close_unfinished(opened: BuildRun) -> Callable[..., None]:
    """Writes down how a run ended that did not come to its report."""

    def close(_kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        state = opened.state
        end = "failed" if isinstance(error, Exception) else "partial"
        message = state.stopped or str(error) or "stopped at once"
        report = {"generated": state.tally["generated"], "cost_usd": f"{usd(state.cost_pico):f}"}
        with suppress(LedgerError):
            opened.ledger.write(close_run, opened.run_id, end, message, report, datetime.now(UTC))

    return close
