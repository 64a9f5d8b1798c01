"""Generating in several processes: runs of another deployment, on any machine, join a build by its run's id.

A run that has joined claims what is pending and generates it, as the build itself does. All they share is in two places: rates are
Prefect's limits; claims, money, answers and the end of the build are in the ledger. So nobody looks after them, and one that dies is
made up for by the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from time import monotonic

import httpx
from prefect.client.orchestration import get_client
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.ledger import Ledger
from convoforge.ledger.runs import keep_sources, read_runs, read_stop, stop_run
from convoforge.models import Provider
from convoforge.orchestration.build_run import BuildRun
from convoforge.orchestration.open_build import GRACE_SECONDS, WATCH_SECONDS
from convoforge.planning.options import BuildOptions
from convoforge.planning.plan import Plan
from convoforge.planning.spec import DatasetSpec, change_spec

DEPLOYMENT = "join-build/worker"

MIN_EACH = 10
"""Minimum number of requests for each worker: for fewer it would take longer to start than to do them."""

_AWAY = (httpx.HTTPError, PrefectException, TimeoutError)


@dataclass(frozen=True, slots=True)
class Joinable:
    """What the ledger knows of a run that other processes can join. `over` says why there is nothing left to do for it."""

    spec: DatasetSpec
    provider: Provider
    endpoint: str
    sources: Mapping[str, str]
    over: str | None


def read_joinable(ledger: Ledger, run_id: str) -> Joinable:
    """The run with this id. Raises `ConfigError` where it is not in this ledger, or nobody can join it."""
    rows = ledger.read(read_runs, run=run_id, limit=1)
    if not rows or rows[0].id != run_id:
        raise ConfigError(
            f"run {run_id} is not in this worker's ledger: give it the CONVOFORGE_DATABASE_URL and CONVOFORGE_DATA_DIR of the build"
        )
    row, over = rows[0], ledger.read(read_stop, run_id, datetime.now(UTC))
    if row.sources is None and over is None:
        raise ConfigError(f"run {run_id} cannot be joined: it is no build, its build has a limit or uses message batches")
    return Joinable(DatasetSpec.from_text(row.spec), row.provider, row.endpoint, json.loads(row.sources or "{}"), over)


def hash_sources(plan: Plan) -> dict[str, str]:
    """The files that decide what a plan sends, each with a hash of what is in it."""
    templates = {
        f"templates/{name}": plan.library.template(name).sha256 for name in sorted({cell.template for cell in plan.cells})
    }
    personas = sorted({cell.persona for cell in plan.cells})
    described = {f"personas/{name}": plan.library.persona(name).model_dump_json() for name in personas}
    return templates | {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in described.items()}


def check_sources(plan: Plan, wanted: Mapping[str, str]) -> None:
    """Raises `ConfigError` where this machine would send other prompts than the build has planned."""
    here = hash_sources(plan)
    if other := [name for name in sorted(here.keys() | wanted.keys()) if here.get(name) != wanted.get(name)]:
        raise ConfigError(
            f"this worker would send other prompts than the build: {', '.join(other[:5])} differ in its configs. "
            "Give it the same checkout, or the same CONVOFORGE_CONFIG_DIR"
        )


async def find_deployment() -> None:
    """Raises `ConfigError` where no worker could be asked."""
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise ConfigError(
                f"the option `workers` needs the deployment {DEPLOYMENT}, which the Prefect server at {client.api_url} does not have: "
                "run `make up`, or deploy as deployments/README.md says"
            ) from None
        except _AWAY as error:
            raise ConvoforgeError(
                f"the option `workers` needs Prefect, which does not answer at {client.api_url}: {error!r}"
            ) from error


def count_workers(spec: DatasetSpec, options: BuildOptions) -> int:
    """How many runs may join a build: a limit is counted in one process, and each process needs a call in flight of its own."""
    return 0 if options.workers is None or options.limit is not None else min(options.workers, spec.limits.concurrency - 1)


def divide_concurrency(spec: DatasetSpec, processes: int) -> DatasetSpec:
    """The spec with the calls in flight that each of several processes may have."""
    return change_spec(spec, limits={"concurrency": spec.limits.concurrency // processes})


async def let_others_join(opened: BuildRun, workers: int, missing: int) -> None:
    """Let other processes join a build, and start up to `workers` runs that do: as many as have something to do of what is `missing`."""
    await opened.ledger.awrite(keep_sources, opened.run_id, opened.context.base_url, hash_sources(opened.plan))
    count = min(workers, ceil(missing / MIN_EACH))
    for number in range(1, count + 1):
        try:
            name = f"{opened.plan.spec.name}: worker {number} of {count}"
            await arun_deployment(DEPLOYMENT, parameters={"run_id": opened.run_id}, flow_run_name=name, timeout=0)
        except _AWAY as error:
            raise ConvoforgeError(f"Prefect starts no run of {DEPLOYMENT}: {error!r}") from error


async def stop_others(opened: BuildRun, reason: str) -> None:
    """Stop the processes that have joined a build, and wait until they have ended what they have begun, as long as a call may take."""
    await opened.ledger.awrite(stop_run, opened.run_id, reason)
    end = monotonic() + opened.plan.spec.retry.timeout_seconds + GRACE_SECONDS + 2 * WATCH_SECONDS
    while monotonic() < end and await opened.list_others():
        opened.state.stage = "waiting for workers to end their calls"
        await asyncio.sleep(0.5)
