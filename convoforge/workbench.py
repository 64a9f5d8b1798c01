"""What one process holds open to generate with: ledger, owner, client, gate, generator. Checked before a cent is spent."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from convoforge.alongside import alongside
from convoforge.batching import Batcher
from convoforge.claude import SIMULATOR_KEY, Claude
from convoforge.control import Control
from convoforge.endpoint import api_address, check_provider, gate_label, gate_limits
from convoforge.errors import ConfigError, DoomError, LedgerError
from convoforge.gate import Gate, Limits, fingerprint
from convoforge.generator import MOST_IN_FLIGHT, Generator
from convoforge.ledger import Ledger
from convoforge.ledger.facts import keep_facts
from convoforge.ledger.owners import RENEW_SECONDS, new_owner, register, renew, retire
from convoforge.ledger.runs import dataset_id, keep_spec, open_run
from convoforge.ledger_rate import LedgerGate
from convoforge.model_facts import ModelFacts, check_model, is_elsewhere
from convoforge.models import Provider
from convoforge.pricing import Price
from convoforge.retry import Policy
from convoforge.settings import Settings
from convoforge.spec import DatasetSpec

OpenGate = Callable[[Limits, str, str, Sequence[str]], AbstractAsyncContextManager[Gate]]
"""Makes a gate from limits, endpoint, model and the keys' fingerprints."""

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True, slots=True)
class Workbench:
    """One run of one process. `dataset` and `owner` are their ids in the ledger, `base_url` is where requests go."""

    run_id: str
    ledger: Ledger
    dataset: int
    owner: str
    base_url: str
    gate: Gate
    generator: Generator
    batcher: Batcher
    facts: ModelFacts


@asynccontextmanager
async def open_workbench(
    spec: DatasetSpec,
    *,
    provider: Provider,
    price: Price,
    settings: Settings,
    control: Control,
    concurrency: int = MOST_IN_FLIGHT,
    open_gate: OpenGate | None = None,
    flow_run_id: str | None = None,
    part_of: str | None = None,
    sends: bool = True,
    log: Log = logging.getLogger(__name__),  # noqa: B008 - the same one, always
) -> AsyncIterator[Workbench]:
    """A workbench for the dataset that `spec` names. Without `open_gate` the rate is counted in the ledger.

    `flow_run_id` is Prefect's, where there is one. `part_of` is the id of a run that another process has begun, and will end: this one
    takes part in it, under its budget, as the owner that is named after `flow_run_id`. Without `sends` no
    request will be made: what was paid is collected though the model is gone. Raises `ConfigError`, `DoomError` or
    `LedgerError`: one line each, for a person. Who opened it waits for its calls in flight before it is closed.
    """
    simulate = provider == "simulator"
    if not simulate and not settings.keys:
        raise ConfigError("no API key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
    keys = (SIMULATOR_KEY,) if simulate else settings.keys
    own_id = uuid.UUID(flow_run_id).hex if flow_run_id else uuid.uuid4().hex
    run_id = part_of or own_id
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings.database_url))
        now, owner = datetime.now(UTC), new_owner(own_id if part_of else None)
        dataset = ledger.write(dataset_id, spec.name, provider, now)
        ledger.write(register, owner, now)
        stack.callback(lambda: ledger.write(retire, owner.id, datetime.now(UTC)))
        await stack.enter_async_context(alongside(_renew_lease(ledger, owner.id, log)))
        base_url = stack.enter_context(api_address(settings, simulate=simulate))
        claude = Claude(keys, base_url, spec.model, timeout_seconds=spec.retry.timeout_seconds)
        stack.push_async_callback(claude.aclose)
        policy = Policy(spec.retry)
        try:
            await check_provider(claude, provider, policy)
        except DoomError as error:
            if sends or error.kind != "model":
                raise
        if sends:
            check_model(claude.facts, spec, elsewhere=is_elsewhere(provider, settings.api_root))
        if claude.told:
            ledger.write(keep_facts, provider, spec.model, claude.told, datetime.now(UTC))
        endpoint, names = gate_label(spec, base_url, provider), [fingerprint(key) for key in keys]
        open_gate = open_gate or _counted_in(ledger)
        gate = await stack.enter_async_context(open_gate(gate_limits(spec.limits), endpoint, spec.model, names))
        if part_of is None:
            ledger.write(keep_spec, dataset, spec)
            ledger.write(open_run, run_id, dataset, spec, owner.id, flow_run_id, now)
        generator = Generator(
            ledger=ledger,
            claude=claude,
            gate=gate,
            control=control,
            spec=spec,
            price=price,
            provider=provider,
            run_id=run_id,
            dataset_id=dataset,
            owner=owner.id,
            concurrency=concurrency,
            policy=policy,
        )
        batcher = Batcher(
            ledger=ledger,
            claude=claude,
            names=names,
            control=control,
            spec=spec,
            price=price,
            provider=provider,
            run_id=run_id,
            dataset_id=dataset,
            owner=owner.id,
            endpoint=base_url,
            policy=policy,
        )
        yield Workbench(run_id, ledger, dataset, owner.id, base_url, gate, generator, batcher, claude.facts)


def _counted_in(ledger: Ledger) -> OpenGate:
    def open_gate(limits: Limits, endpoint: str, model: str, names: Sequence[str]) -> LedgerGate:
        return LedgerGate(limits, ledger=ledger, endpoint=endpoint, model=model, fingerprints=names)

    return open_gate


async def _renew_lease(ledger: Ledger, owner: str, log: Log) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            await ledger.awrite(renew, owner, datetime.now(UTC))
        except LedgerError as error:  # the lease outlasts a short absence; the calls themselves find out about a long one
            log.warning("the lease could not be renewed: %s", error)
