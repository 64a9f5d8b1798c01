"""A dataset to be reviewed: conversations of two lengths, which the real scorers accept or do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from support import Project

from convoforge.dataset.status import score_dataset
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import AnswerRow, Completion, Intent, finish_attempts, start_attempts
from convoforge.ledger.owners import Owner, make_owner, register
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset, keep_spec
from convoforge.models import Purpose, Usage
from convoforge.planning.keys import conversation_id, draw_key
from convoforge.planning.plan import Cell, Plan, make_plan
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.settings import ROOT

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
SHORT = (("user", "Is a bond safe, Ada?"), ("assistant", "It may be."))
TURNS = [{"role": "user", "content": "Is a bond safe?"}, {"role": "assistant", "content": "It depends on who owes the money."}]


def long(number: int) -> list[tuple[str, str]]:
    """A conversation that is accepted, unlike the others."""
    said = f"What would {number} more years of waiting with bond number {number} cost us, as I am nervous about it, part"
    return [("assistant" if n % 2 else "user", f"{said} {n} of number {number}?") for n in range(10)]


@dataclass
class Reviewed:
    """An open ledger with a dataset `spoken`, one conversation of each cell."""

    ledger: Ledger
    plan: Plan
    dataset: int

    @property
    def names(self) -> list[str]:
        """The conversations' ids, by cell."""
        cells = [cell.key for cell in self.plan.cells]
        draws = sorted(self.ledger.read(read_draws, self.dataset), key=lambda draw: cells.index(draw.cell))
        return [draw.conversation_id for draw in draws]


@contextmanager
def make(url: str, conversations: Sequence[Any], **spec: Any) -> Iterator[Reviewed]:
    plan = make_plan(
        DatasetSpec.model_validate(
            {
                "name": "spoken",
                "model": "claude-sonnet-5-5",
                "templates": ["advice-edge"],
                "axes": {
                    "persona": ["Anxious Investor", "New Parent"],
                    "emotion": ["Fear"],
                    "topic": [f"topic {n}" for n in range((len(conversations) + 1) // 2)],
                    "tier": ["edge_case"],
                },
                "quality": {"filters": [], "near_duplicates": None},
                **spec,
            }
        ),
        Library.at(ROOT / "configs"),
        "anthropic",
    )
    with Ledger(url) as ledger:
        dataset = ledger.write(ensure_dataset, "spoken", "anthropic", NOW)
        ledger.write(keep_spec, dataset, plan.spec)
        owner = make_owner()
        ledger.write(register, owner, NOW)
        ledger.write(register_draws, dataset, [(cell, 0) for cell in plan.cells])
        requests = {draw.cell: draw for draw in ledger.read(read_draws, dataset)}
        ledger.write(claim, owner.id, [draw.request_id for draw in requests.values()], NOW)
        for cell, turns in zip(plan.cells, conversations, strict=False):
            fingerprint = plan.fingerprint(cell, 0)
            name, text = conversation_id(draw_key(cell.key, 0), fingerprint), orjson.dumps(turns).decode()
            answer = AnswerRow(name, fingerprint, "ok", text, None, None, None, "1/x", None, temperature_applied=False)
            bring(Reviewed(ledger, plan, dataset), owner, requests[cell.key].request_id, cell, answer)
        score_dataset(ledger, plan, dataset)
        yield Reviewed(ledger, plan, dataset)


def bring(
    reviewed: Reviewed, owner: Owner, request: int, cell: Cell, answer: AnswerRow, purpose: Purpose = "conversation"
) -> None:
    """Have an attempt of a request bring an answer."""
    names = {"run_id": "r", "dataset_id": reviewed.dataset, "owner": owner.id, "provider": "anthropic", "template": cell.template}
    intent = Intent(
        request,
        1,
        **names,
        model=reviewed.plan.spec.model,
        api_key=None,
        price=reviewed.plan.price.text,
        started_at=NOW,
        reserve_pico=1,
        limits={},
        purpose=purpose,
    )
    reviewed.ledger.write(start_attempts, [intent])
    done = {"status": "succeeded", "billing": "billed", "finished_at": NOW, "latency_ms": 1, "cost_pico": 10**10}
    reviewed.ledger.write(finish_attempts, [Completion(intent, **done, usage=Usage(1, 2), answer=answer)])


@pytest.fixture
def reviewed(project: Project) -> Iterator[Reviewed]:
    """Six conversations of a project; the first, third and fifth are too short."""
    project.data.mkdir()
    conversations = [long(n) if n % 2 else [*SHORT[:-1], ("assistant", f"It may be {n}.")] for n in range(6)]
    with make(f"sqlite:///{project.data / 'ledger.db'}", conversations) as opened:
        yield opened
