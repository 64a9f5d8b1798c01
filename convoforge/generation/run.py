"""Opens a generating process's resources: ledger, owner, client, limiter, generator. All are checked before anything is paid."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from convoforge.background import background_task
from convoforge.claude.retry import Policy
from convoforge.errors import FatalAPIError, LedgerError
from convoforge.generation.endpoint import check_account, check_provider, limit_label, open_client, read_limits
from convoforge.generation.generator import MAX_IN_FLIGHT, Generator
from convoforge.generation.judging import Judging, check_judge
from convoforge.generation.message_batches import Batcher
from convoforge.generation.run_context import RunContext
from convoforge.generation.run_state import RunState
from convoforge.ledger import Ledger
from convoforge.ledger.model_facts import keep_facts
from convoforge.ledger.owners import RENEW_SECONDS, make_owner, register, renew, retire
from convoforge.ledger.rate_limiter import LedgerRateLimiter
from convoforge.ledger.runs import begin_run, ensure_dataset, keep_spec
from convoforge.models import Provider
from convoforge.planning.model_facts import check_model, is_elsewhere
from convoforge.planning.spec import DatasetSpec, judge_spec, price_judge
from convoforge.planning.templates import Library
from convoforge.pricing import Price
from convoforge.rate import Limits, fingerprint
from convoforge.rate.keys import Key
from convoforge.rate.limiter import RateLimiter
from convoforge.scoring import Rubric
from convoforge.settings import Settings

OpenLimiter = Callable[[Limits, str, str, Sequence[str]], AbstractAsyncContextManager[RateLimiter[Key]]]
"""Opens a limiter for limits, endpoint, model and the keys' fingerprints."""

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True, slots=True)
class Run:
    """An open run: its context, its generator and its batcher; and those of its judge, if its spec has one."""

    context: RunContext
    generator: Generator
    batcher: Batcher
    judging: Judging | None = None


@asynccontextmanager
async def open_run(
    spec: DatasetSpec,
    *,
    provider: Provider,
    price: Price,
    settings: Settings,
    run_state: RunState,
    concurrency: int = MAX_IN_FLIGHT,
    open_limiter: OpenLimiter | None = None,
    flow_run_id: str | None = None,
    part_of: str | None = None,
    sends: bool = True,
    begins: bool = True,
    log: Log = logging.getLogger(__name__),  # noqa: B008 - always the same logger
) -> AsyncIterator[Run]:
    """Open a run of the dataset that `spec` names. Without `open_limiter` the rate is counted in the ledger.

    `flow_run_id` is Prefect's, if there is one. `part_of` is the id of a run that another process began and will end: this
    process takes part in it, under its budget. Without `sends` no request is made, and the model may be gone: paid batches can
    still be collected. Without `begins` the caller records the run, once it has work. Raises `ConfigError`, `FatalAPIError` or
    `LedgerError`, each with one line for a person. The caller waits for its calls in flight before it closes the run.
    """
    simulate = provider == "simulator"
    accounts = check_account(settings, simulate=simulate)
    rubric = Rubric.of(spec, Library.at(settings.config_dir))
    run_id = part_of or (uuid.UUID(flow_run_id).hex if flow_run_id else uuid.uuid4().hex)
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings.database_url))
        now, owner = datetime.now(UTC), make_owner(run_id)
        dataset = ledger.write(ensure_dataset, spec.name, provider, now)
        ledger.write(register, owner, now)
        stack.callback(lambda: ledger.write(retire, owner.id, datetime.now(UTC)))
        await stack.enter_async_context(background_task(_renew_lease(ledger, owner.id, log)))
        claude = await stack.enter_async_context(open_client(settings, spec, simulate=simulate))
        base_url, policy = claude.base_url, Policy(spec.retry)
        try:
            await check_provider(claude, provider, policy)
        except FatalAPIError as error:
            if sends or error.kind != "model":
                raise
        if sends:
            check_model(claude.facts, spec, elsewhere=is_elsewhere(provider, base_url))
        if claude.reported:
            ledger.write(keep_facts, provider, spec.model, claude.reported, datetime.now(UTC))
        endpoint, names = limit_label(spec, base_url, provider), [fingerprint(account) for account in accounts]
        open_limiter = open_limiter or _counted_in(ledger)
        limiter = await stack.enter_async_context(open_limiter(read_limits(spec.limits), endpoint, spec.model, names))
        if part_of is None:
            ledger.write(keep_spec, dataset, spec)
            if begins:
                ledger.write(begin_run, run_id, dataset, spec, owner.id, flow_run_id, now)
        context = RunContext(
            run_id=run_id,
            dataset_id=dataset,
            owner=owner.id,
            provider=provider,
            spec=spec,
            rubric=rubric,
            price=price,
            policy=policy,
            ledger=ledger,
            claude=claude,
            limiter=limiter,
            state=run_state,
            key_names=names,
            base_url=base_url,
        )
        judging = None
        if rubric.judge is not None:
            judge = rubric.judge
            its_spec = judge_spec(spec, judge.max_tokens)
            reader = await stack.enter_async_context(open_client(settings, its_spec, simulate=simulate, beside=claude))
            if sends:
                await check_judge(reader, its_spec, provider, policy)
            its_limiter = await stack.enter_async_context(open_limiter(read_limits(spec.limits), endpoint, judge.model, names))
            price_of_judge = price_judge(its_spec, batch=spec.mode == "batch")
            judging = Judging(judge, replace(context, spec=its_spec, price=price_of_judge, claude=reader, limiter=its_limiter))
        yield Run(context, Generator(context, concurrency), Batcher(context), judging)


def _counted_in(ledger: Ledger) -> OpenLimiter:
    def open_limiter(limits: Limits, endpoint: str, model: str, names: Sequence[str]) -> LedgerRateLimiter:
        return LedgerRateLimiter(limits, ledger=ledger, endpoint=endpoint, model=model, fingerprints=names)

    return open_limiter


async def _renew_lease(ledger: Ledger, owner: str, log: Log) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            await ledger.awrite(renew, owner, datetime.now(UTC))
        except LedgerError as error:  # the lease outlasts a short outage; in a long one the calls fail themselves
            log.warning("the lease could not be renewed: %s", error)
