"""A build in this process: what its tasks work with, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

from convoforge.costs.run_figures import RunTotals, read_totals_of_others
from convoforge.dataset.acceptance import DatasetStatus
from convoforge.errors import ConfigError
from convoforge.generation.generator import Generator
from convoforge.generation.jobs import Job, make_job
from convoforge.generation.judging import Judging
from convoforge.generation.message_batches import Batcher
from convoforge.generation.recent_answers import RecentAnswers
from convoforge.generation.run_context import RunContext
from convoforge.generation.run_state import RunState
from convoforge.ledger import Ledger
from convoforge.ledger.owners import list_other_owners
from convoforge.ledger.requests import Claimed, list_unanswered
from convoforge.planning.plan import Cell, Plan
from convoforge.pricing import usd
from convoforge.rate import describe_rate
from convoforge.runs.known import RunNote
from convoforge.settings import Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment, for whoever watches. Money in US dollars; `rate` is that of the last window, in words;
    `note` is what the ledger keeps of it. What is `unjudged` has passed all else, and waits for a judge's word."""

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
    rate: str
    seconds_left: float | None
    waiting: str
    stopped: str | None
    note: RunNote
    unjudged: int = 0


@dataclass(slots=True)
class BuildState(RunState):
    """What changes while a build runs.

    `others` is what other processes have done for the run, `judged` what all have, where a judge has the last word. `in_batches` counts
    its dataset's requests in message batches, `collected` the answers that batches of earlier runs brought; `batch_notes` say what was
    wrong with batches that are over, `batch_troubles` with those that go on. `interrupted` is a stop that was asked for from outside.
    `estimated` is what the run was expected to cost, `rounds` how often this process began to generate, `logged` how many lines the log
    has about single requests. This process generates since `generating_since` (seconds on the monotonic clock); `done_before` was done
    by then. `recent_judged` are the last conversations that a judge has read.
    """

    stage: str = "planning"
    stale: int = 0
    todo: int = 0
    others: RunTotals = RunTotals()
    judged: RunTotals = RunTotals()
    interrupted: bool = False
    generating_since: float | None = None
    done_before: int = 0
    estimated: Mapping[str, Any] = field(default_factory=dict)
    in_batches: int = 0
    collected: int = 0
    batch_notes: list[str] = field(default_factory=list)
    batch_troubles: tuple[str, ...] = ()
    rounds: int = 0
    logged: int = 0
    recent_judged: RecentAnswers | None = None


class Claims:
    """How many requests of one run are under way in this process. More may be claimed while there are no more than `enough`: what one
    has claimed no other build of the dataset finds."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._under_way = 0
        self._few = asyncio.Event()
        self._few.set()

    async def room(self, count: int) -> None:
        """Wait until few are under way; then there are `count` more."""
        while self._under_way > self._enough:
            self._few.clear()
            await self._few.wait()
        self._under_way += count

    def end(self, count: int = 1) -> None:
        """`count` requests have ended, or could not be claimed."""
        self._under_way -= count
        if self._under_way <= self._enough:
            self._few.set()


@dataclass(frozen=True, slots=True)
class BuildRun:
    """A build in this process: its run's context, the plan, and who makes its calls. `joined` is one that another process has begun.
    Only `state` changes; it is the context's own."""

    context: RunContext
    state: BuildState
    generator: Generator
    batcher: Batcher
    plan: Plan
    settings: Settings
    claims: Claims
    cells: Mapping[str, Cell]
    joined: bool = False
    judging: Judging | None = None

    @property
    def run_id(self) -> str:
        return self.context.run_id

    @property
    def ledger(self) -> Ledger:
        return self.context.ledger

    @property
    def dataset_id(self) -> int:
        return self.context.dataset_id

    def job(self, claimed: Claimed) -> Job:
        """What a claimed draw sends now. Its answer is scored as it comes, and not again by the `score` task, unless a judge has the
        last word: a score takes a millisecond of CPU."""
        cell = self.cells[claimed.cell]
        job = replace(make_job(self.plan, cell, claimed), keep_score=self.judging is None)
        if self.state.openings is None:
            return job
        return replace(job, prompt=replace(job.prompt, avoid=self.state.openings.describe(cell.persona, cell.topic)))

    @property
    def generated(self) -> int:
        """How many answers the run has brought, in all its processes."""
        return self.state.tally["generated"] + self.state.others.generated

    @property
    def cost_pico(self) -> int:
        """What they cost, in pico-dollars."""
        return self.state.cost_pico + self.state.others.cost_pico

    async def list_others(self) -> set[str]:
        """The owners of other processes that are at work on the run now."""
        return await self.ledger.aread(list_other_owners, self.run_id, self.context.owner, datetime.now(UTC))

    async def count_others(self) -> None:
        """Read from the ledger what other processes have done for the run, if there are any; and what a judge has said."""
        if self.judging is not None:
            self.state.judged = await self.ledger.aread(read_totals_of_others, self.run_id, "", self.plan.spec.quality.min_score)
        if self.state.others != RunTotals() or await self.list_others():
            await self._count_others()

    async def count_earlier(self) -> None:
        """Count what the run has done before it was resumed or tried again, in processes that are gone."""
        await self._count_others()
        if self.plan.spec.mode == "batch":  # what is in batches is counted apart
            self.state.others = replace(self.state.others, in_flight=0)

    async def count_run(self) -> None:
        """Bring the state to what the whole run has done, in all its processes, also in those that are gone."""
        if self.plan.spec.mode == "batch":  # no two processes share it
            return
        await self._count_others()
        if self.state.others != RunTotals():
            self.state.unanswered = await self.ledger.aread(list_unanswered, self.run_id)

    async def _count_others(self) -> None:
        self.state.others = await self.ledger.aread(
            read_totals_of_others,
            self.run_id,
            self.context.owner,
            self.plan.spec.quality.min_score,
            datetime.now(UTC) - timedelta(seconds=self.plan.spec.limits.window_seconds),
        )

    @property
    def done(self) -> int:
        """How many of the run's requests have an answer or have failed, in all its processes."""
        return self.generated + len(self.state.unanswered)

    def start_clock(self) -> None:
        """Begin to measure how fast the run goes. What was done before it was paused says nothing about it."""
        if self.state.generating_since is None:
            self.state.generating_since, self.state.done_before = monotonic(), self.done

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
        tally, others, spec = self.state.tally, self.state.others, self.plan.spec
        failed, done = len(self.state.unanswered), self.done
        spent = 0.0 if self.state.generating_since is None else monotonic() - self.state.generating_since
        rate = max(0, done - self.state.done_before) / spent if spent > 0.5 else 0.0
        left = max(0, self.state.todo - done)
        accepted, revise, dropped = (tally[name] + getattr(others, name) for name in ("accepted", "needs_revision", "dropped"))
        unjudged = 0
        if self.judging is not None:  # what this process has taken for accepted is for the judge to say
            judged = self.state.judged
            revise, dropped = max(revise, judged.needs_revision), max(dropped, judged.dropped)
            accepted, unjudged = judged.accepted, max(0, self.generated - judged.accepted - revise - dropped)
        limiter = self.context.limiter.status()
        note = RunNote(
            at=datetime.now(UTC),
            stage=self.state.stage,
            waiting=self.ledger.waiting or self.context.limiter.waiting,
            accepted=accepted,
            queue=limiter.queue_length,
            used=limiter.used + others.in_window,
            allowed=limiter.allowed,
            seconds_left=left / rate if rate else None,
        )
        return Progress(
            dataset=spec.name,
            stage=note.stage,
            planned=self.plan.planned,
            todo=self.state.todo,
            done=done,
            accepted=accepted,
            needs_revision=revise,
            dropped=dropped,
            failed=failed,
            in_flight=len(self.state.in_flight) + self.state.in_batches + others.in_flight,
            cost_usd=usd(self.cost_pico),
            budget_usd=spec.budget.run_usd,
            rate=describe_rate(note.used, note.allowed, spec.limits.window_seconds),
            seconds_left=note.seconds_left,
            waiting=note.waiting,
            stopped=self.state.stopped,
            unjudged=unjudged,
            note=note,
        )


_CURRENT: ContextVar[BuildRun] = ContextVar("convoforge_build_run")
_OPEN: list[BuildRun] = []


def current_run() -> BuildRun:
    """The build that this code runs in: how tasks find it, as they find Prefect's own context. Raises `ConfigError` outside a build."""
    try:
        return _CURRENT.get()
    except LookupError:
        raise ConfigError("no build is open here: start a build instead of its tasks") from None


@contextmanager
def make_current(opened: BuildRun) -> Iterator[None]:
    """Let tasks find a build, and whoever watches its progress."""
    token = _CURRENT.set(opened)
    _OPEN.append(opened)
    try:
        yield
    finally:
        _OPEN.remove(opened)
        _CURRENT.reset(token)


def watch_progress() -> Progress | None:
    """The progress of the newest build of this process, for whoever watches from outside of it."""
    return _OPEN[-1].progress() if _OPEN else None
