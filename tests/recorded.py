"""A dataset in a ledger, built without calling anybody: what was planned, answered well for a cent each."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from random import Random
from string import ascii_lowercase
from typing import Any

from sqlalchemy import insert, select

from convoforge.dataset.status import plan_dataset, read_status, settle_plan
from convoforge.ledger import Ledger
from convoforge.ledger.budgets import read_budgets, write_budgets
from convoforge.ledger.runs import begin_run, ensure_dataset, keep_spec
from convoforge.ledger.tables import answers, generation_logs, requests, signatures
from convoforge.models import Conversation, Provider, Status, Turn
from convoforge.planning.plan import Plan
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.scoring import Rubric
from convoforge.scoring.similarity import SIGNATURE_VERSION, sign
from convoforge.settings import ROOT

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIBRARY = Library.at(ROOT / "configs")
CENT = 10**10
WORDS = [*map("".join, product(ascii_lowercase, repeat=2))]


class Dataset:
    """A dataset in a ledger, built without calling anybody."""

    def __init__(self, ledger: Ledger, provider: Provider = "anthropic") -> None:
        self.ledger = ledger
        self.provider = provider
        self.runs = 0

    def plan(self, spec: DatasetSpec, run: str | None = None) -> Plan:
        return plan_dataset(self.ledger, spec, LIBRARY, self.provider, run=run)

    def begin(self, spec: DatasetSpec) -> tuple[Plan, int, str]:
        """Plan as a build does when it begins."""
        self.runs += 1
        run = f"{self.provider}{self.runs}"
        plan = self.plan(spec)
        dataset = self.ledger.write(ensure_dataset, spec.name, self.provider, NOW)
        self.ledger.write(keep_spec, dataset, spec)
        self.ledger.write(begin_run, run, dataset, spec, "o", None, NOW)
        return settle_plan(self.ledger, dataset, run, plan, NOW), dataset, run

    def build(self, spec: DatasetSpec, limit: int | None = None) -> Plan:
        """Let every missing draw be answered well, for a cent."""
        plan, dataset, run = self.begin(spec)
        ask = read_status(self.ledger, plan, dataset).to_request[:limit]
        cells = {cell.key: cell for cell in plan.cells}

        rubric = Rubric.of(spec, LIBRARY).version

        def write(connection: Any) -> None:
            first = connection.execute(select(requests.c.id).order_by(requests.c.id.desc()).limit(1)).scalar() or 0
            held, logs, answered = [], [], []
            for number, (key, draw) in enumerate(ask, first + 1):
                cell = cells[key]
                axes = {name: getattr(cell, name) for name in ("persona", "emotion", "topic", "tier", "template")}
                known = {"id": number, "dataset_id": dataset, "draw_key": f"{key}/{draw}", "cell": key, "draw": draw}
                held.append({**known, **axes, "state": "held", "answer": 1, "fingerprint": 64 * "5"})
                by = {"run_id": run, "dataset_id": dataset, "owner": "o", "provider": self.provider, "model": spec.model}
                ended = {"template": cell.template, "status": "succeeded", "billing": "billed", "started_at": NOW}
                usage = {"input_tokens": 600, "output_tokens": 900, "latency_ms": 9_000, "cost_pico": CENT}
                logs.append({"request_id": number, "attempt": 1, **by, **ended, **usage})
                answered.append(
                    {
                        "request_id": number,
                        "attempt": 1,
                        "conversation_id": f"c{number}",
                        "fingerprint": 64 * "5",
                        "kind": "ok",
                        "turns": "[]",
                        "template_version": "1",
                        "temperature_applied": False,
                        "generated_at": NOW,
                        "rubric": rubric,
                        "score": 9,
                        "content_hash": f"{number:064x}",
                    }
                )
            marks = sign(Conversation((Turn("user", " ".join(Random(one["id"]).choices(WORDS, k=20))),)) for one in held)
            if held:
                connection.execute(insert(requests), held)
                connection.execute(insert(generation_logs), logs)
                connection.execute(insert(answers), answered)
                how = {"attempt": 1, "version": SIGNATURE_VERSION}
                rows = [{"request_id": one["id"], "signature": mark, **how} for one, mark in zip(held, marks, strict=True)]
                connection.execute(insert(signatures), rows)
                books = read_budgets(connection, [f"dataset:{dataset}"])
                books[f"dataset:{dataset}"]["spent_pico"] += CENT * len(held)
                write_budgets(connection, books)

        self.ledger.write(write)
        return plan

    def accepted(self, spec: DatasetSpec) -> int:
        plan = self.plan(spec)
        dataset = self.ledger.write(ensure_dataset, spec.name, self.provider, NOW)
        return read_status(self.ledger, plan, dataset).counts[Status.ACCEPTED]
