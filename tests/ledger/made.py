"""Attempts to write down: an intent, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from convoforge.ledger.attempts import AnswerRow, Completion, Intent
from convoforge.ledger.owners import Owner
from convoforge.models import Usage
from convoforge.planning.plan import Cell

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CENT = 10**10  # pico-dollars


def cell(number: int) -> Cell:
    return Cell(f"{number:032x}", "Anxious Investor", "Fear", "bonds", "template", "advice")


def intent(
    request_id: int, dataset: int, owner: Owner, *, reserve: int = CENT, cap: int | None = None, attempt: int = 1
) -> Intent:
    return Intent(
        request_id=request_id,
        attempt=attempt,
        run_id="r",
        dataset_id=dataset,
        owner=owner.id,
        provider="anthropic",
        model="claude-sonnet-5-5",
        template="advice",
        api_key="3f2a9c",
        price="2/10/2.5/4/0.1",
        started_at=NOW,
        reserve_pico=reserve,
        limits={"run:r": cap, f"dataset:{dataset}": None, f"day:{dataset}:2026-11-22": None},
    )


def answer() -> AnswerRow:
    return AnswerRow("c", 64 * "5", "ok", '[["user","a"],["assistant","b"]]', None, None, None, "1/x", None, False)


def completion(of: Intent, *, cost: int = CENT // 2, billing: str = "billed", **other: Any) -> Completion:
    told = {"status": "succeeded", "usage": Usage(10, 20), "answer": answer(), **other}
    return Completion(of, billing=billing, finished_at=NOW + timedelta(seconds=1), latency_ms=1000, cost_pico=cost, **told)
