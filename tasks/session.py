"""What one process holds open for one run: ledger, client, gate, generator. Tasks find it by the run's id; they take ids, not objects."""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic

from prefect.logging import get_logger, get_run_logger
from prefect.runtime import flow_run

from convoforge.claude import SIMULATOR_KEY, Claude
from convoforge.endpoint import api_address, check_provider, gate_limits
from convoforge.errors import ConfigError, LedgerError
from convoforge.gate import Gate, fingerprint
from convoforge.generator import Control, Generator, Job
from convoforge.ledger import Ledger
from convoforge.ledger.draws import Claimed
from convoforge.ledger.owners import RENEW_SECONDS, Owner, new_owner, register, renew, retire
from convoforge.ledger.runs import close_run, dataset_id, keep_spec, open_run
from convoforge.models import Provider
from convoforge.plan import Cell, Plan, make_plan
from convoforge.pricing import usd
from convoforge.retry import Policy
from convoforge.settings import Settings
from convoforge.spec import DatasetSpec
from convoforge.templates import Library
from tasks.gate import PrefectGate
from tasks.stopping import heed_prefect, heed_signals

GRACE_SECONDS = 10.0
"""So much longer than one call may take a run that ends waits for its calls in flight."""


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
class Session:
    """One run in this process."""

    run_id: str
    plan: Plan
    settings: Settings
    ledger: Ledger
    dataset_id: int
    owner: Owner
    claude: Claude
    gate: Gate
    control: Control
    generator: Generator
    slots: asyncio.Semaphore
    begun: float = field(default_factory=monotonic)
    stage: str = "planning"
    stale: int = 0
    todo: int = 0
    generating_since: float | None = None
    cells: dict[str, Cell] = field(default_factory=dict)

    def job(self, claimed: Claimed) -> Job:
        """What a claimed draw sends today."""
        cell = self.cells[claimed.cell]
        template = self.plan.library.template(cell.template)
        return Job(claimed, self.plan.prompt(cell, claimed.draw), self.plan.spec.generation, cell.template, template.label)

    def give_up(self) -> None:
        """Wait for no call in flight any more. Each may have been billed, and is kept as such."""
        for call in self.control.in_flight:
            call.cancel()

    def progress(self) -> Progress:
        """Where the run is now."""
        tally, spec = self.control.tally, self.plan.spec
        failed = len(self.control.unanswered)
        done = tally["generated"] + failed
        spent = monotonic() - self.generating_since if self.generating_since else 0.0
        rate = done / spent if spent > 0.5 else 0.0
        left = max(0, self.todo - done)
        return Progress(
            dataset=spec.name,
            stage=self.stage,
            planned=self.plan.wanted,
            todo=self.todo,
            done=done,
            accepted=tally["accepted"],
            needs_revision=tally["needs_revision"],
            dropped=tally["dropped"],
            failed=failed,
            in_flight=len(self.control.in_flight),
            cost_usd=usd(self.control.cost_pico),
            budget_usd=spec.budget.run_usd,
            requests_per_minute=rate * 60,
            limit_per_minute=spec.limits.max_requests * 60 / spec.limits.window_seconds,
            seconds_left=left / rate if rate else None,
            waiting=self.gate.waiting,
            stopped=self.control.stopped,
        )


_open: dict[str, Session] = {}


def session(run_id: str) -> Session:
    """The open session of a run in this process."""
    try:
        return _open[run_id]
    except KeyError:
        raise ConfigError(f"run {run_id} is not open in this process: start a build instead of its tasks") from None


def watch_progress() -> Progress | None:
    """The progress of the newest session of this process, if one is open."""
    return next(reversed(_open.values())).progress() if _open else None


@asynccontextmanager
async def open_session(spec: DatasetSpec, *, simulate: bool, settings: Settings | None = None) -> AsyncIterator[Session]:
    """Everything a run needs, checked before a cent is spent, and closed again whatever happens.

    Raises `ConfigError`, `DoomError` or `LedgerError`: one line each, for a person.
    """
    settings = settings or Settings()
    provider: Provider = "simulator" if simulate else "anthropic"
    plan = make_plan(spec, Library.at(settings.config_dir), provider)
    if not simulate and not settings.keys:
        raise ConfigError("no API key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings.database_url))
        now = datetime.now(UTC)
        owner = new_owner()
        dataset = ledger.write(dataset_id, spec.name, provider, now)
        ledger.write(register, owner, now)
        stack.callback(lambda: ledger.write(retire, owner.id, datetime.now(UTC)))
        base_url = stack.enter_context(api_address(settings, simulate=simulate))
        keys = (SIMULATOR_KEY,) if simulate else settings.keys
        claude = Claude(keys, base_url, spec.model, timeout_seconds=spec.retry.timeout_seconds)
        stack.push_async_callback(claude.aclose)
        await check_provider(claude, spec.generation, provider, Policy(spec.retry))
        gate = await stack.enter_async_context(
            PrefectGate(
                gate_limits(spec.limits),
                endpoint=gate_label(spec, base_url, simulate=simulate),
                model=spec.model,
                fingerprints=[fingerprint(key) for key in keys],
                log=get_run_logger() if flow_run.id else get_logger(),
            )
        )
        run_id = uuid.UUID(str(flow_run.id)).hex if flow_run.id else uuid.uuid4().hex
        control = Control()
        generator = Generator(
            ledger=ledger,
            claude=claude,
            gate=gate,
            control=control,
            spec=spec,
            price=plan.price,
            provider=provider,
            run_id=run_id,
            dataset_id=dataset,
            owner=owner.id,
        )
        ledger.write(keep_spec, dataset, spec)
        ledger.write(open_run, run_id, dataset, spec, owner.id, flow_run.id, now)
        opened = Session(
            run_id=run_id,
            plan=plan,
            settings=settings,
            ledger=ledger,
            dataset_id=dataset,
            owner=owner,
            claude=claude,
            gate=gate,
            control=control,
            generator=generator,
            slots=asyncio.Semaphore(spec.limits.concurrency),
            cells={cell.key: cell for cell in plan.cells},
        )
        _open[run_id] = opened
        stack.callback(_open.pop, run_id)
        stack.push(_close_unfinished(opened))
        stack.push_async_callback(_end, asyncio.create_task(_renew_lease(opened)))
        await stack.enter_async_context(heed_prefect(control.stop))
        stack.enter_context(heed_signals(control.stop, opened.give_up))
        stack.push_async_callback(generator.drain, spec.retry.timeout_seconds + GRACE_SECONDS)
        stack.enter_context(_light_collections())
        yield opened


@contextmanager
def _light_collections() -> Iterator[None]:
    """Keep the garbage collector away from what imports have made: a full collection walks half a million objects of Prefect and
    the SDK, and thousands of calls bring many (4,000 conversations: 16.4 → 10.9 s of CPU, measured)."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _close_unfinished(opened: Session) -> Callable[..., None]:
    """Writes down how a run ended that did not come to its report."""

    def close(_kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        control = opened.control
        state = "failed" if isinstance(error, Exception) else "partial"
        message = control.stopped or str(error) or "stopped at once"
        report = {"generated": control.tally["generated"], "cost_usd": f"{usd(control.cost_pico):f}"}
        with suppress(LedgerError):
            opened.ledger.write(close_run, opened.run_id, state, message, report, datetime.now(UTC))

    return close


def gate_label(spec: DatasetSpec, base_url: str, *, simulate: bool) -> str:
    """What the limits in Prefect are named after. Nobody tunes a simulator's by hand, so new numbers in a spec are new limits."""
    limits = spec.limits
    numbers = [f"{limits.max_requests}-per-{limits.window_seconds:g}s", f"{limits.pause_threshold:g}"]
    numbers += [str(tokens) for tokens in (limits.input_tokens, limits.output_tokens) if tokens]
    return "-".join(["simulator", spec.name, *numbers]) if simulate else base_url


async def _renew_lease(opened: Session) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            await opened.ledger.awrite(renew, opened.owner.id, datetime.now(UTC))
        except LedgerError as error:  # the lease outlasts a short absence; the calls themselves find out about a long one
            get_run_logger().warning("the lease could not be renewed: %s", error)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
