"""Lets a judge read conversations: each once, by the way of every request, under the budgets of its run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from convoforge.claude import ModelClient
from convoforge.claude.retry import Policy
from convoforge.errors import ConfigError, FatalAPIError
from convoforge.generation.endpoint import check_provider
from convoforge.generation.generator import Generator
from convoforge.generation.jobs import Job
from convoforge.generation.message_batches import Batcher
from convoforge.generation.run_context import RunContext
from convoforge.ledger.answers import read_answers, read_conversation
from convoforge.ledger.judgments import claim_judgments
from convoforge.ledger.requests import Claimed, register_draws
from convoforge.models import Outcome, Provider
from convoforge.planning.keys import draw_key
from convoforge.planning.model_facts import check_model
from convoforge.planning.plan import Cell, Plan
from convoforge.planning.spec import DatasetSpec, price_judge
from convoforge.scoring import Judge, ScoringContext


async def check_judge(claude: ModelClient, spec: DatasetSpec, provider: Provider, policy: Policy) -> None:
    """Check, at no cost, that the API knows a judge's model, and that it can answer. Raises `ConfigError` or `FatalAPIError`."""
    try:
        await check_provider(claude, provider, policy)
        check_model(claude.facts, spec, elsewhere=True)
    except (FatalAPIError, ConfigError) as error:
        raise ConfigError(f"quality.judge.model: {error}") from None


@dataclass(frozen=True)
class Judging:
    """A judge, and the context in which its requests are sent: the run's own, but for model, price and limiter."""

    judge: Judge
    context: RunContext

    @cached_property
    def generator(self) -> Generator:
        """What sends its requests one by one."""
        return Generator(self._at(batch=False), self.context.spec.limits.concurrency)

    @cached_property
    def batcher(self) -> Batcher:
        """What hands them over in message batches."""
        return Batcher(self._at(batch=True))

    def _at(self, *, batch: bool) -> RunContext:
        spec = self.context.spec
        return replace(self.context, price=price_judge(spec, batch=batch))

    async def ask(self, plan: Plan, ids: Sequence[int]) -> dict[int, Outcome]:
        """Let the judge read the conversations that some requests hold, but for those that another process has claimed. Claims a part
        whenever there is room, so that others find some of it. Returns what became of each that was begun."""
        part, asked = self.context.spec.limits.concurrency, dict[int, asyncio.Task[Outcome]]()
        room = asyncio.Semaphore(2 * part)
        for start in range(0, len(ids), part):
            some = ids[start : start + part]
            for _ in some:
                await room.acquire()
            if self.context.state.stopped is not None:
                break
            jobs = await self._prepare(plan, some)
            for one, job in jobs.items():
                asked[one] = asyncio.create_task(self.generator.generate(job))
                asked[one].add_done_callback(lambda _: room.release())
            for _ in range(len(some) - len(jobs)):
                room.release()
        if asked:
            await asyncio.wait(asked.values())  # one failure cancels nothing: the others are paid
        return {one: task.result() for one, task in asked.items()}

    async def submit(self, plan: Plan, ids: Sequence[int]) -> list[int]:
        """Hand the same over in message batches. Returns those that were tried: a budget may have no room for the others yet."""
        jobs = await self._prepare(plan, ids)
        handed, refused = await self.batcher.submit([*jobs.values()])
        return [one for one, job in jobs.items() if job.claimed.request_id in handed | refused]

    async def _prepare(self, plan: Plan, ids: Sequence[int]) -> dict[int, Job]:
        """Register and claim what judges some conversations. Returns the jobs, by the requests that hold these."""
        ledger = self.context.ledger
        rows = await ledger.aread(
            lambda connection: {row.judge_key: row for row in read_answers(connection, ids) if row.judge_key}
        )
        cells = [(_make_cell(row, key.partition("/")[0]), 0) for key, row in rows.items()]
        await ledger.awrite(register_draws, self.context.dataset_id, cells, purpose="judge")
        claimed = await ledger.awrite(claim_judgments, self.context.owner, list(rows), datetime.now(UTC))
        by_row = {one: rows[draw_key(one.cell, one.draw)] for one in claimed}
        return {row.id: self._make_job(plan, one, row) for one, row in by_row.items()}

    def _make_job(self, plan: Plan, claimed: Claimed, row: Any) -> Job:
        spec, rubric = self.context.spec, self.judge.rubric
        context = ScoringContext.of(spec.name, row, spec.parameters)
        prompt = self.judge.write_prompt(
            read_conversation(row.turns, row.system),
            context,
            plan.library.persona(row.persona),
            plan.prompt(_make_cell(row, row.cell), row.draw),
            structured=self.context.facts.uses_schema(spec.generation),
        )
        label = f"{rubric.version}/{rubric.sha256[:8]}"
        return Job(claimed, prompt, spec.generation, row.template, label, context=context, purpose="judge")


def _make_cell(row: Any, key: str) -> Cell:
    return Cell(key, row.persona, row.emotion, row.topic, row.tier, row.template)
