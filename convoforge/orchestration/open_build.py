"""A build is opened in this process: checked before a cent is spent, stopped by whoever may stop it, and closed whatever happens."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from math import ceil

from prefect.events import emit_event
from prefect.exceptions import Pause
from prefect.logging import get_logger, get_run_logger
from prefect.runtime import flow_run

from convoforge.background import background_task
from convoforge.dataset.release import check_data_folder
from convoforge.dataset.status import find_stranded, plan_dataset, settle_plan
from convoforge.errors import ConfigError, LedgerError
from convoforge.generation.recent_answers import RecentAnswers
from convoforge.generation.run import open_run
from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_newest
from convoforge.ledger.failed_starts import keep_failed_start
from convoforge.ledger.runs import close_run, read_stop, stop_run
from convoforge.models import Provider
from convoforge.orchestration.build_run import BuildRun, BuildState, Claims, make_current
from convoforge.orchestration.cancellation import handle_signals, watch_prefect
from convoforge.orchestration.dead_runs import SUSPENDED_EVENT
from convoforge.orchestration.rate_limiter import prefect_limiter
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.openings import Openings
from convoforge.planning.plan import Plan
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.pricing import usd
from convoforge.settings import Settings
from convoforge.telemetry import explain_missing, trace_run

GRACE_SECONDS = 10.0
"""Seconds, beyond one call's timeout, that a run waits for its calls in flight when it ends."""

WATCH_SECONDS = 2.0
"""Seconds until a process notices that the build it has joined is stopping."""


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
    log = get_run_logger() if flow_run.id else get_logger()
    async with AsyncExitStack() as stack:
        if part_of is None:
            run_id = uuid.UUID(str(flow_run.id)).hex if flow_run.id else None
            stack.enter_context(keep_failed_start(settings.database_url, spec, provider, run_id))
        plan = await asyncio.to_thread(_plan, spec, settings, provider, part_of, strand)
        if part_of is None:  # who takes part publishes nothing
            await asyncio.to_thread(check_data_folder, settings.data_dir, plan)
        state = BuildState(recent=RecentAnswers(_how_to_look(plan)), recent_judged=RecentAnswers(_how_to_look(plan)))
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
            joined=part_of is not None,
            judging=run.judging,
        )
        if spec.generation.avoid_repeats:
            state.openings = await asyncio.to_thread(_read_openings, opened)
        if missing := explain_missing():
            log.warning(missing)
        stack.enter_context(trace_run(run.context.run_id, spec.name, provider, joined=part_of is not None))
        stack.enter_context(make_current(opened))
        if part_of is None:
            stack.push(_close_unfinished(opened))
            await opened.count_earlier()
        elif over := await opened.ledger.aread(read_stop, part_of, datetime.now(UTC)):
            state.stop(over)  # since it was looked up, and the build does not wait for us
        if spec.mode != "batch":
            await stack.enter_async_context(background_task(_stop_together(opened)))
        await stack.enter_async_context(watch_prefect(opened.interrupt))
        stack.enter_context(handle_signals(opened.interrupt, opened.give_up))
        stack.push_async_callback(run.generator.drain, spec.retry.timeout_seconds + GRACE_SECONDS)
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


def _read_openings(opened: BuildRun) -> Openings:
    openings = Openings()
    for persona, topic, conversation in opened.ledger.read(read_newest, opened.dataset_id):
        openings.add(persona, topic, conversation)
    return openings


def _how_to_look(plan: Plan) -> str:
    simulated = " --simulated" if plan.provider == "simulator" else ""
    return (
        f"`convoforge show {plan.spec.name} --rejected{simulated}` prints them: change the templates, `generation` or `quality`. "
        "Another build stops after as many more"
    )


async def _stop_together(opened: BuildRun) -> None:
    """Stop all processes of a run when its build does. The ledger says so: a Cancel in Prefect would kill a process 30 s later, with the
    calls it has in flight."""
    while True:
        with suppress(LedgerError):  # the calls themselves find out about a ledger that is away
            if not opened.joined and opened.state.stopped is not None:
                await opened.ledger.awrite(stop_run, opened.run_id, opened.state.stopped)
                return
            if opened.joined and (over := await opened.ledger.aread(read_stop, opened.run_id, datetime.now(UTC))):
                opened.state.stop(over)
                return
        await asyncio.sleep(WATCH_SECONDS)


def _close_unfinished(opened: BuildRun) -> Callable[..., None]:
    """Writes down how a run ended that did not come to its report."""

    def close(_kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        end = "failed" if isinstance(error, Exception) else "partial"
        message = opened.state.stopped or str(error) or "stopped at once"
        if isinstance(error, Pause):
            message = f"{message}; {opened.generated:,} generated so far, and Prefect's Resume continues the run"
            emit_event(SUSPENDED_EVENT, resource={"prefect.resource.id": f"prefect.flow-run.{flow_run.id}"})
        report = {**opened.state.estimated, "generated": opened.generated, "cost_usd": f"{usd(opened.cost_pico):f}"}
        with suppress(LedgerError):
            opened.ledger.write(close_run, opened.run_id, end, message, report, datetime.now(UTC))

    return close
