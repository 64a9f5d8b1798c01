"""Costs as a plain count in Python over the rows: what every figure is held against."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, select

from convoforge.dataset.acceptance import assess
from convoforge.dataset.near_duplicates import read_neighbors, read_rule
from convoforge.ledger.plans import read_cells, read_plan
from convoforge.ledger.requests import read_draws
from convoforge.ledger.tables import answers, datasets, generation_logs, requests
from convoforge.pricing import Price, usd

Row = dict[str, Any]
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "thinking_tokens",
)


@dataclass(frozen=True)
class Rows:
    """Everything in a ledger that costs are made of. Answers carry their log, and whether they are held and accepted."""

    logs: list[Row]
    answers: list[Row]
    datasets: dict[int, Row]


def read_rows(connection: Connection) -> Rows:
    def every(table: Table) -> list[Row]:
        return [dict(row) for row in connection.execute(select(table)).mappings()]

    logs = {(row["request_id"], row["attempt"]): row for row in every(generation_logs)}
    held = {row["id"]: row["answer"] for row in every(requests)}
    accepted = plain_accepted(connection)
    found = []
    for row in sorted(every(answers), key=lambda row: (row["request_id"], row["attempt"])):
        key = row["request_id"], row["attempt"]
        is_held = held[row["request_id"]] == row["attempt"]
        good = is_held and row["request_id"] in accepted
        found.append({**row, "log": logs[key], "held": is_held, "accepted": good})
    return Rows([*logs.values()], found, {row["id"]: row for row in every(datasets)})


def plain_accepted(connection: Connection) -> set[int]:
    """The requests whose answers are accepted: the rule over everything that the ledger holds."""
    found: set[int] = set()
    for row in connection.execute(select(datasets)).all():
        if row.min_score is None:
            continue
        draws, plan, cells = read_draws(connection, row.id), read_plan(connection, row.id), read_cells(connection, row.id)
        within = plan.having(cells.values()) if plan else set(cells.values())
        keys = [key for key, values in cells.items() if values in within]
        per_cell = json.loads(row.spec)["per_cell"] if row.spec else 10**6
        near = read_neighbors(connection, row.id, read_rule(row.spec))
        status = assess(keys, draws, min_score=row.min_score, per_cell=per_cell, max_draws=0, near=near)
        found.update(draw.request_id for draw in status.accepted)
    return found


def plain_costs(
    rows: Rows, since: datetime | None, until: datetime | None, by: str | None, provider: str = "anthropic"
) -> dict[str, Any]:
    """What `cost_summary(…).as_json()` is to be."""
    names: dict[str, Callable[[Row], str]] = {
        "run": lambda log: log["run_id"],
        "dataset": lambda log: rows.datasets[log["dataset_id"]]["name"],
        "model": lambda log: log["model"],
        "template": lambda log: log["template"],
        "purpose": lambda log: log["purpose"],
        "day": lambda log: f"{log['started_at'].astimezone(UTC):%Y-%m-%d}",
    }

    def counts(log: Row) -> bool:
        at = log["started_at"]
        return log["provider"] == provider and (since is None or at >= since) and (until is None or at < until)

    logs = [log for log in rows.logs if counts(log)]
    came = [answer for answer in rows.answers if counts(answer["log"])]
    total = _figures(logs, came)
    if by is None:
        return total
    groups: dict[str, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for log in logs:
        groups[names[by](log)][0].append(log)
    for answer in came:
        groups[names[by](answer["log"])][1].append(answer)
    return {**total, "groups": {name: _figures(*groups[name]) for name in sorted(groups)}}


def _figures(logs: Sequence[Row], came: Sequence[Row]) -> dict[str, Any]:
    judged = [answer["log"] for answer in came if answer["kind"] == "judged"]
    came = [answer for answer in came if answer["kind"] != "judged"]
    accepted = [answer for answer in came if answer["accepted"]]
    superseded = [answer for answer in came if not answer["held"]]
    dropped = [answer for answer in came if answer["held"] and not answer["accepted"]]
    good_logs = [log for log in logs if log["status"] == "succeeded"]
    times = sorted(log["latency_ms"] for log in good_logs)
    tokens = {name: sum(log[name] for log in logs) for name in TOKENS}
    written = tokens["cache_write_5m_tokens"] + tokens["cache_write_1h_tokens"]
    prompt = tokens["input_tokens"] + tokens["cache_read_tokens"] + written
    pico = sum(log["cost_pico"] for log in logs)
    conversations = sum(answer["kind"] == "ok" for answer in came)
    retried = [log for log in logs if log["status"] == "failed" and log["billing"] == "billed"]
    maybe = [log for log in logs if log["billing"] == "maybe"]
    batched = [log for log in logs if log["batch_id"] is not None]
    return {
        "attempts": len(logs),
        "succeeded": len(good_logs),
        "failed": sum(log["status"] in ("failed", "lost") for log in logs),
        "retries": sum(log["attempt"] > 1 for log in logs),
        "maybe_billed": len(maybe),
        "conversations": conversations,
        "accepted": len(accepted),
        "input_tokens": tokens["input_tokens"],
        "output_tokens": tokens["output_tokens"],
        "thinking_tokens": tokens["thinking_tokens"],
        "cache_read_tokens": tokens["cache_read_tokens"],
        "cache_write_tokens": written,
        "total_cost_usd": _said(pico),
        "cost_per_request_usd": _each(pico, len(logs)),
        "cost_per_conversation_usd": _each(pico, conversations),
        "cost_per_accepted_usd": _each(pico, len(accepted)),
        "success_rate": len(good_logs) / len(logs) if logs else None,
        "latency_ms": {
            "mean": round(sum(times) / len(times), 1) if times else None,
            **{f"p{percent}": times[math.ceil(len(times) * percent / 100) - 1] if times else None for percent in (50, 95, 99)},
        },
        "waste": {
            "dropped": {"conversations": len(dropped), "cost_usd": _paid([answer["log"] for answer in dropped])},
            "superseded": {"conversations": len(superseded), "cost_usd": _paid([answer["log"] for answer in superseded])},
            "retried": {"attempts": len(retried), "cost_usd": _paid(retried)},
            "maybe_billed": {
                "attempts": len(maybe),
                "at_most_usd": _said(sum(log["maybe_pico"] + log["reserved_pico"] for log in maybe)),
            },
        },
        "cache": {
            "hit_rate": tokens["cache_read_tokens"] / prompt if prompt else None,
            "saved_usd": _said(sum(map(_saved, logs))),
        },
        "batch": {"attempts": len(batched), "cost_usd": _paid(batched)},
        "judge": {"attempts": len(judged), "cost_usd": _paid(judged)},
    }


def _saved(log: Row) -> int:
    """What a call's prompt would have cost without a cache, less what it cost, in pico-dollars."""
    if log["price"] is None:
        return 0
    price = Price.parse(log["price"])

    def cost(rate: Decimal, name: str) -> int:
        return int(rate * 10**6) * int(log[name])

    cached = ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    without = sum(cost(price.input, name) for name in cached)
    rates = price.cache_read, price.cache_write_5m, price.cache_write_1h
    return without - sum(cost(rate, name) for rate, name in zip(rates, cached, strict=True))


def _said(pico: int) -> str:
    return f"{usd(pico):f}"


def _paid(logs: Sequence[Row]) -> str:
    return _said(sum(log["cost_pico"] for log in logs))


def _each(pico: int, count: int) -> str | None:
    return f"{usd(pico) / count:f}" if count else None
