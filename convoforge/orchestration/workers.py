"""Generating on workers: runs of another deployment, on any machine, share one build's requests. The build plans, scores and publishes.

Each run is given all requests of a round and another place to begin at, and takes shards of what nobody else has claimed: so a slow
worker, or one that dies, is made up for by the others. What they share is in three places: rates are Prefect's limits, claims, money
and answers are in the ledger, and so is the word to stop. Prefect says which runs have begun and how they ended; who is at work is
known from the ledger, where every process renews a lease: a run whose machine went down stays Running in Prefect for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from math import ceil
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from convoforge.costs.run_totals import read_run_totals
from convoforge.dataset.status import score_dataset
from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.ledger.owners import LEASE, list_living_owners
from convoforge.ledger.requests import claim, list_unanswered, list_untried
from convoforge.ledger.runs import stop_run
from convoforge.models import Status
from convoforge.orchestration.build_run import GRACE_SECONDS, WATCH_SECONDS, BuildRun
from convoforge.orchestration.prefect_api import prefect_client
from convoforge.planning.plan import Plan

DEPLOYMENT = "join-build/worker"

LOOK_SECONDS = 1.0

TELL_SECONDS = 30.0
"""Seconds that no worker takes a run before the build says so."""

GIVE_UP_SECONDS = 300.0
"""Seconds that no worker takes a run before the build ends without it."""

REPORT_SECONDS = 10.0
"""Maximum seconds until Prefect says how a run ended that is gone from the ledger."""

FRUITLESS_ROUNDS = 2
"""After so many rounds that finished no request there is no third."""

MIN_EACH = 10
"""A worker for fewer requests than these would be longer in starting than at work."""

MAX_AT_ONCE = 50_000
"""Requests in one round: however scattered their ids are, they fit into the 512 KB that Prefect takes as parameters."""

ASK_SECONDS = 5.0
"""Maximum seconds for Prefect to answer a question: its client would retry for a minute, and a stop would wait for that."""

_AWAY = (httpx.HTTPError, PrefectException, TimeoutError)


def compress(ids: Iterable[int]) -> str:
    """Ids as ranges: ``1-500,510``."""
    runs = [[one for _, one in group] for _, group in groupby(enumerate(sorted(ids)), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def expand(ranges: str) -> list[int]:
    """The ids in ranges, ascending. Raises `ValueError` for anything else."""
    ends = [part.partition("-") for part in ranges.split(",") if part]
    return [one for first, _, last in ends for one in range(int(first), int(last or first) + 1)]


def turned(ids: Sequence[int], part: int, parts: int) -> list[int]:
    """All of `ids`, from where the `part`-th of `parts` equal parts begins; counted from 0."""
    start = len(ids) * part // parts
    return [*ids[start:], *ids[:start]]


def sources(plan: Plan) -> dict[str, str]:
    """The files that decide what a plan sends, each with a hash of what is in it."""
    templates = {
        f"templates/{name}": plan.library.template(name).sha256 for name in sorted({cell.template for cell in plan.cells})
    }
    personas = sorted({cell.persona for cell in plan.cells})
    described = {f"personas/{name}": plan.library.persona(name).model_dump_json() for name in personas}
    return templates | {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in described.items()}


def check_sources(plan: Plan, wanted: dict[str, str]) -> None:
    """Raises `ConfigError` where this machine would send other prompts than the build has planned."""
    here = sources(plan)
    if other := [name for name in sorted(here.keys() | wanted.keys()) if here.get(name) != wanted.get(name)]:
        raise ConfigError(
            f"this worker would send other prompts than the build: {', '.join(other[:5])} differ in its configs. "
            "Give it the same checkout, or the same CONVOFORGE_CONFIG_DIR"
        )


async def find_deployment() -> None:
    """Raises `ConfigError` where no worker could be asked."""
    async with prefect_client() as client:
        try:
            await client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise ConfigError(
                f"--workers needs the deployment {DEPLOYMENT}, which the Prefect server at {client.api_url} does not have: "
                "run `make up`, or deploy as deployments/README.md says"
            ) from None
        except _AWAY as error:
            raise ConvoforgeError(f"--workers needs Prefect, which does not answer at {client.api_url}: {error!r}") from error


async def generate_on_workers(opened: BuildRun, ids: Sequence[int], workers: int) -> set[int]:
    """Generate requests by up to `workers` runs of the deployment, and see them to their end. Returns the ids that were tried and stay
    without an answer. Whatever stops this run stops them; a reason of theirs that concerns all stops this run."""
    ids = sorted(ids)[:MAX_AT_ONCE]
    ledger, run_state = opened.ledger, opened.state
    since = datetime.now(UTC)
    for _ in range(FRUITLESS_ROUNDS):
        async with _worker_group(opened, ids, since, workers) as group:
            await group.finish()
        if run_state.stopped is not None or len(await ledger.aread(list_untried, ids, opened.run_id, since)) < len(ids):
            break
    else:
        run_state.stop(f"workers have ended {FRUITLESS_ROUNDS} times without finishing a request ({group.last_message})")
    return await ledger.aread(list_unanswered, opened.run_id, since)


@dataclass(slots=True)
class _WorkerRun:
    """One run on a worker. `began` and `met` are when Prefect called it running, and when it was last seen at work in the ledger."""

    id: UUID
    state: State | None
    began: float | None = None
    met: float | None = None

    @property
    def owner(self) -> str:
        return self.id.hex

    @property
    def waits(self) -> bool:
        """Whether no worker has begun it."""
        return self.began is None and self.met is None and not self.ended

    @property
    def ended(self) -> bool:
        """Whether Prefect says that it is over. One that is paused has drained, too."""
        return self.state is not None and (self.state.is_final() or self.state.is_paused())

    def over(self, now: float) -> bool:
        """Whether it does nothing any more; asked when its owner is not at work."""
        if self.ended or self.met is not None:
            return self.ended or now - (self.met or now) > REPORT_SECONDS
        return self.began is not None and now - self.began > LEASE.total_seconds()


@dataclass(slots=True)
class _WorkerGroup:
    """The runs of one round."""

    opened: BuildRun
    ids: Sequence[int]
    since: datetime
    client: PrefectClient
    members: list[_WorkerRun] = field(default_factory=list)
    last_message: str = ""
    _heard: set[UUID] = field(default_factory=set)
    _idle_since: float = field(default_factory=monotonic)
    _stopped_at: float | None = None
    _told: bool = False
    _away: bool = False

    async def start(self, workers: int) -> None:
        """Start up to `workers` runs: as many as have something to do, and as may have a call in flight each."""
        opened, spec = self.opened, self.opened.plan.spec
        parts = max(1, min(workers, spec.limits.concurrency, ceil(len(self.ids) / MIN_EACH)))
        simulated = opened.plan.provider == "simulator"
        same: dict[str, Any] = {
            "run_id": opened.run_id,
            "requests": compress(self.ids),
            "since": self.since.isoformat(),
            "sources": sources(opened.plan),
            "simulator": opened.context.base_url if simulated else None,
        }
        for part in range(parts):
            shares = {"part": part, "parts": parts, "concurrency": len(range(part, spec.limits.concurrency, parts))}
            try:
                run = await arun_deployment(
                    DEPLOYMENT,
                    client=self.client,
                    parameters={**same, **shares},
                    flow_run_name=f"{spec.name}: {part + 1} of {parts}",
                    timeout=0,
                )
            except _AWAY as error:
                raise ConvoforgeError(f"Prefect starts no run of {DEPLOYMENT}: {error!r}") from error
            self.members.append(_WorkerRun(run.id, run.state))
        self._idle_since = monotonic()

    async def finish(self) -> None:
        """See the runs to their end."""
        pause = LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            begun = monotonic()
            alive = await self._look()
            pause = max(LOOK_SECONDS, 5 * (monotonic() - begun))  # a look at a large run takes its time
            self._hear()
            left = [one for one in self.members if one.owner in alive or not one.over(monotonic())]
            if not left:
                return
            if await self._await_stop(left):
                return
            await self._await_start(left)

    async def _look(self) -> set[str]:
        """Bring everything up to date. Returns who is at work."""
        opened, now = self.opened, datetime.now(UTC)
        await opened.ledger.awrite(claim, opened.context.owner, (), now)  # gives back what dead ones held
        alive = await opened.ledger.aread(list_living_owners, [one.owner for one in self.members], now)
        await self._ask_prefect()
        for one in self.members:
            if one.owner in alive:
                one.met = monotonic()
            elif one.began is None and one.state is not None and one.state.is_running():
                one.began = monotonic()
        await asyncio.to_thread(score_dataset, opened.ledger, opened.plan.spec, opened.dataset_id)
        totals = await opened.ledger.aread(read_run_totals, opened.run_id, opened.plan.spec.quality.min_score)
        run_state = opened.state
        run_state.cost_pico = totals.cost_pico
        run_state.unanswered = await opened.ledger.aread(list_unanswered, opened.run_id)
        tally = {
            "generated": totals.generated,
            Status.ACCEPTED: totals.accepted,
            Status.NEEDS_REVISION: totals.needs_revision,
            Status.DROPPED: totals.dropped,
        }
        run_state.tally.update({key: count - run_state.tally[key] for key, count in tally.items()})
        opened.state.elsewhere = totals.in_flight
        opened.state.stage = f"generating on {len(alive)} of {len(self.members)} workers"
        return alive

    async def _ask_prefect(self) -> None:
        """What Prefect knows of the runs. While it is away, the ledger alone says who is at work."""
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[one.id for one in self.members]))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                runs = await self.client.read_flow_runs(flow_run_filter=mine, limit=len(self.members))
        except _AWAY as error:
            if not self._away:
                get_run_logger().warning("Prefect does not answer (%s); the workers go on", type(error).__name__)
            self._away = True
            return
        self._away = False
        states = {run.id: run.state for run in runs}
        for one in self.members:
            one.state = states.get(one.id) or Cancelled(message="deleted in Prefect")

    def _hear(self) -> None:
        """React to how runs have ended. A Failed one met what no request fares better with, a Partial one what stops them all."""
        for one in self.members:
            if not one.ended or one.state is None or one.id in self._heard:
                continue
            self._heard.add(one.id)
            if one.state.is_failed():
                self.opened.state.stop(one.state.message or "a worker failed", fatal=True)
            elif one.state.is_completed() and one.state.name == "Partial":
                self.opened.state.stop(one.state.message or "a worker ended short")
            elif not one.state.is_completed():
                self.last_message = f"the last was {one.state.name}: {one.state.message or 'no reason was given'}"
                get_run_logger().warning("a worker's run ended as %s: %s", one.state.name, one.state.message)

    async def _await_stop(self, left: Sequence[_WorkerRun]) -> bool:
        """Once this run is stopping: tell the runs, and whether they have had the time to drain."""
        opened = self.opened
        if opened.state.stopped is None:
            return False
        if self._stopped_at is None:
            self._stopped_at = monotonic()
            await opened.ledger.awrite(stop_run, opened.run_id, opened.state.stopped)
        await self.cancel_pending(left)
        patience = opened.plan.spec.retry.timeout_seconds + GRACE_SECONDS + 2 * WATCH_SECONDS + REPORT_SECONDS
        return monotonic() - self._stopped_at > patience

    async def _await_start(self, left: Sequence[_WorkerRun]) -> None:
        """Where nobody is at work: cancel what has nothing left to do, and say who is missing."""
        opened, now = self.opened, monotonic()
        if not all(one.waits for one in left):
            self._idle_since = now
            return
        if not await opened.ledger.aread(list_untried, self.ids, opened.run_id, self.since):
            await self.cancel_pending(left)
            return
        idle = now - self._idle_since
        if idle < TELL_SECONDS:
            opened.state.stage = "waiting for a worker"
            return
        missing = "no worker takes the work: start one with `prefect worker start --pool convoforge`"
        opened.state.stage = missing
        if not self._told:
            self._told = True
            get_run_logger().warning("%s", missing)
        if idle > GIVE_UP_SECONDS:
            opened.state.stop(f"{missing}; waited {idle:.0f} s")

    async def cancel_pending(self, left: Iterable[_WorkerRun]) -> None:
        """Cancel the runs that have not begun. Those at work hear of a stop from the ledger."""
        for one in left:
            if one.waits:
                try:
                    async with asyncio.timeout(ASK_SECONDS):
                        await self.client.set_flow_run_state(one.id, Cancelled(message="it is not needed any more"))
                except _AWAY:
                    get_run_logger().debug("a run was not cancelled")  # the next look tries again


@asynccontextmanager
async def _worker_group(opened: BuildRun, ids: Sequence[int], since: datetime, workers: int) -> AsyncIterator[_WorkerGroup]:
    """The runs of one round, started; those that still wait for a worker are taken back, however it is left."""
    async with prefect_client() as client:
        group = _WorkerGroup(opened, ids, since, client)
        try:
            await group.start(workers)
            yield group
        finally:
            await group.cancel_pending(group.members)
