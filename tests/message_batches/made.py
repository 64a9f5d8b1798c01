"""A run with message batches, over HTTP and with a real ledger, in which hours pass without anybody waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from window_limiter import WindowRateLimiter

from convoforge.claude import Claude
from convoforge.claude.retry import Policy
from convoforge.generation.batch_reading import Collected
from convoforge.generation.jobs import Job
from convoforge.generation.message_batches import Batcher
from convoforge.generation.run_context import RunContext
from convoforge.generation.run_state import RunState
from convoforge.ledger import Ledger
from convoforge.ledger.budgets import read_budgets
from convoforge.ledger.message_batches import list_open_batches
from convoforge.ledger.owners import make_owner, register, retire
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.runs import begin_run, ensure_dataset
from convoforge.models import Prompt
from convoforge.planning.plan import Cell, worst_cost_pico
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import price_of
from convoforge.rate import Limits, fingerprint
from convoforge.scoring import Rubric
from convoforge.scoring.registry import find_scorers

MODEL, KEY = "claude-sonnet-5-5", "sk-one"
PRICE = price_of(MODEL, batch=True)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def prompt(number: int) -> Prompt:
    return Prompt("You write conversations.", f"Write one conversation as JSON.\nTopic: market volatility\nDraw: {number};\n")


def match(number: int) -> str:
    """What only the prompt of this draw holds."""
    return f"Draw: {number};"


def worst(*numbers: int) -> int:
    """What these draws may cost at the most, at the price of batches."""
    return sum(worst_cost_pico(prompt(number), 4096, PRICE) for number in numbers)


@dataclass
class Run:
    """A run with its batches. `passed` is added to the real time: so hours pass."""

    ledger: Ledger
    batcher: Batcher
    control: RunState
    spec: DatasetSpec
    dataset: int
    owner: str
    passed: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.passed

    def elsewhere(self, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        """From now on batches are collected by a run with another address or other keys."""
        collector = self.batcher._collector
        monkeypatch.setattr(collector, "_run", replace(collector._run, **changes))

    async def hand_over(self, count: int = 12) -> tuple[set[int], set[int]]:
        """The ids that are in a batch now, and those whose batch was not made."""
        cells = [Cell(f"{n:032x}", "Anxious Investor", "Fear", "bonds", "template", "advice") for n in range(count)]
        self.ledger.write(register_draws, self.dataset, [(cell, 0) for cell in cells])
        ids = [draw.request_id for draw in self.ledger.read(read_draws, self.dataset)]
        claimed = self.ledger.write(claim, self.owner, ids, datetime.now(UTC))
        jobs = [Job(one, prompt(int(one.cell, 16)), self.spec.generation, "advice", "1/x") for one in claimed]
        return await self.batcher.submit(jobs)

    async def collect(self, after: timedelta = timedelta()) -> Collected:
        self.passed += after
        return await self.batcher.collect()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.ledger.read(lambda connection: connection.execute(text(query)).all())]

    @property
    def states(self) -> dict[str, int]:
        return dict(Counter(draw.state for draw in self.ledger.read(read_draws, self.dataset)))

    @property
    def failures(self) -> list[tuple[Any, ...]]:
        """Cell number, billing, kind and words of the attempts that failed."""
        query = (
            "SELECT cell, billing, error_kind, error FROM generation_logs JOIN requests ON requests.id = request_id "
            "WHERE status = 'failed' ORDER BY cell"
        )
        return [(int(cell, 16), *others) for cell, *others in self.rows(query)]

    @property
    def trouble(self) -> str | None:
        [batch] = self.ledger.read(list_open_batches)
        return batch.seen.trouble

    @property
    def maybe_pico(self) -> int:
        return int(self.ledger.write(read_budgets, [f"dataset:{self.dataset}"])[f"dataset:{self.dataset}"]["maybe_pico"])


@asynccontextmanager
async def start_run(url: str, folder: Path, name: str = "r", **changes: Any) -> AsyncIterator[Run]:
    """A run on the ledger in `folder`, with some keys of its spec changed."""
    spec = DatasetSpec.model_validate(
        {
            "name": "advice",
            "model": MODEL,
            "templates": ["advice"],
            "axes": {"persona": ["a"], "emotion": ["b"], "topic": ["c"], "tier": ["template"]},
            "quality": {"min_score": 1},
            "retry": {"base_delay_seconds": 0.01, "jitter_seconds": 0, "timeout_seconds": 5},
            **changes,
        }
    )
    claude, control = Claude([KEY], url, MODEL, timeout_seconds=5), RunState()
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        now, owner = datetime.now(UTC), make_owner()
        ledger.write(register, owner, now)
        dataset = ledger.write(ensure_dataset, spec.name, "simulator", now)
        ledger.write(begin_run, name, dataset, spec, owner.id, None, now)
        context = RunContext(
            run_id=name,
            dataset_id=dataset,
            owner=owner.id,
            provider="simulator",
            spec=spec,
            rubric=Rubric(find_scorers(spec.quality.scorers)),
            price=PRICE,
            policy=Policy(spec.retry),
            ledger=ledger,
            claude=claude,
            limiter=WindowRateLimiter(Limits(max_requests=100_000)),
            state=control,
            key_names=[fingerprint(KEY)],
            base_url=url,
        )
        batcher = Batcher(context, now=lambda: run.now())
        run = Run(ledger, batcher, control, spec, dataset, owner.id)
        try:
            yield run
        finally:
            await claude.aclose()
        ledger.write(retire, owner.id, datetime.now(UTC))


Open = Callable[..., AbstractAsyncContextManager[Run]]
