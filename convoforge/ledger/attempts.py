"""Records attempts: intent and reservation before the call; usage, cost and answer after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from convoforge.errors import LedgerError
from convoforge.ledger.budgets import Denied, check_budget, read_budgets, write_budgets
from convoforge.ledger.tables import answers, generation_logs, requests
from convoforge.models import Purpose, Quality, ScorerResult, Terms, Usage
from convoforge.scoring import Scored

CONTENT_KEY = 12
"""Number of characters of a content hash that make its key. Contents with equal keys are compared by the whole hash."""

SCORE_COLUMNS = ("rubric", "score", "rejection", "results")


@dataclass(frozen=True, slots=True)
class Intent:
    """A call about to be made. `limits` are the budgets it must fit into: scope → pico-dollars, None without a cap. `batch_id` is the
    ledger's id of its message batch, if it is part of one."""

    request_id: int
    attempt: int
    run_id: str
    dataset_id: int
    owner: str
    provider: str
    model: str
    template: str
    api_key: str | None
    price: str
    started_at: datetime
    reserve_pico: int
    limits: Mapping[str, int | None]
    batch_id: str | None = None
    purpose: Purpose = "conversation"


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer: the turns as JSON, or the raw text if it holds no conversation. `scored` is only set if the answer is not scored
    later. `system` is the template's system turn, never one that the model wrote; `drawn` is the prompt's."""

    conversation_id: str
    fingerprint: str
    kind: str
    turns: str | None
    system: str | None
    raw_text: str | None
    reason: str | None
    template_version: str
    temperature: float | None
    temperature_applied: bool
    scored: Scored | None = None
    content_hash: str | None = None
    drawn: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The result of a call. `billing` is billed, none or maybe. `request_state` is the request's next state: held, failed,
    pending, or None if another attempt follows. `provider`, `model` and `price` are those of the answer, if not the requested
    ones; `answered_model` is the model's name in the answer if it differs in any way. `worst_pico` is the lower bound
    of its worst case if billing is maybe; without `usage_known` the usage is unknown."""

    intent: Intent
    status: str
    billing: str
    finished_at: datetime
    latency_ms: int
    provider: str | None = None
    usage: Usage = Usage()
    cost_pico: int = 0
    error_kind: str | None = None
    error: str | None = None
    http_status: int | None = None
    api_request_id: str | None = None
    stop_reason: str | None = None
    answer: AnswerRow | None = None
    request_state: str | None = None
    fingerprint: str | None = None
    reason: str | None = None
    model: str | None = None
    price: str | None = None
    answered_model: str | None = None
    usage_known: bool = True
    worst_pico: int = 0
    terms: Terms = Terms()


def _columns(kind: type[Any], table: Table, *but: str) -> tuple[str, ...]:
    """The fields of a dataclass for which a table has columns."""
    return tuple(name for name in kind.__dataclass_fields__ if name in table.c and name not in but)


_OF_INTENT = _columns(Intent, generation_logs)
_OF_COMPLETION = _columns(Completion, generation_logs, "provider", "model", "price")  # see `_who_answered`
_OF_ANSWER = _columns(AnswerRow, answers)


def _pick(value: object, names: Iterable[str]) -> dict[str, Any]:
    """The named attributes of `value` as a dictionary."""
    return {name: getattr(value, name) for name in names}


def read_intent(row: Any, limits: Mapping[str, int | None]) -> Intent:
    """Read the intent of an open attempt from its row in the log."""
    return Intent(**_pick(row, _OF_INTENT), reserve_pico=row.reserved_pico, limits=limits)


def start_attempts(connection: Connection, items: Sequence[Intent]) -> Sequence[Denied | None]:
    """Record intents and reserve their worst case, in order; `Denied` for one that does not fit into a budget."""
    budgets = read_budgets(connection, {scope for item in items for scope in item.limits})
    results: list[Denied | None] = []
    rows = []
    for item in items:
        checks = (check_budget(budgets[scope], scope, limit, item.reserve_pico) for scope, limit in item.limits.items())
        denied = next((found for found in checks if found), None)
        results.append(denied)
        if denied is not None:
            continue
        for scope, limit in item.limits.items():
            budgets[scope]["reserved_pico"] += item.reserve_pico
            budgets[scope]["limit_pico"] = limit
        state = {"status": "open", "billing": "maybe", "reserved_pico": item.reserve_pico}
        rows.append({**_pick(item, _OF_INTENT), **state})
    if rows:
        write_budgets(connection, budgets)
        connection.execute(insert(generation_logs), rows)
    return results


_LOG = update(generation_logs).where(
    generation_logs.c.request_id == bindparam("b_request"),
    generation_logs.c.attempt == bindparam("b_attempt"),
)
_LOG_DONE = _LOG.where(generation_logs.c.status == "open")
_LOG_LATE = _LOG.where(generation_logs.c.status == "lost")
_REQUEST = update(requests).where(requests.c.id == bindparam("b_request")).values(state=bindparam("b_state"), owner=None)
_HOLD = _REQUEST.values(answer=bindparam("b_answer"), fingerprint=bindparam("b_fingerprint"), reason=bindparam("b_reason"))
_LET_GO = _REQUEST.values(
    fingerprint=func.coalesce(bindparam("b_fingerprint"), requests.c.fingerprint), reason=bindparam("b_reason")
)


def finish_attempts(connection: Connection, items: Sequence[Completion]) -> Sequence[None]:
    """Record the ends of calls: log, answer, request and budgets together, or nothing.

    A call recorded as lost, because its process was taken for dead, is no longer lost. Raises `LedgerError` for a call that was
    never begun, or whose end was recorded before: its cost must not be counted twice.
    """
    budgets = read_budgets(connection, {scope for item in items for scope in item.intent.limits})
    logs, kept, held, let_go = [], [], [], []
    for item in items:
        intent, answer, maybe = item.intent, item.answer, _maybe_pico(item)
        for scope in intent.limits:
            budget = budgets[scope]
            budget["reserved_pico"] -= intent.reserve_pico
            budget["spent_pico"] += item.cost_pico
            # A cost that may have been billed counts at its worst case, so that no cap is exceeded.
            budget["maybe_pico"] += maybe
        logs.append(
            {
                "b_request": intent.request_id,
                "b_attempt": intent.attempt,
                "api_key": intent.api_key,
                "reserved_pico": 0,
                "maybe_pico": maybe,
                **_pick(item, _OF_COMPLETION),
                **asdict(item.usage),
                **asdict(item.terms),
            }
        )
        change = {
            "b_request": intent.request_id,
            "b_state": item.request_state,
            "b_fingerprint": item.fingerprint,
            "b_reason": item.reason,
        }
        if answer is not None:
            own = {"request_id": intent.request_id, "attempt": intent.attempt, "generated_at": item.finished_at}
            kept.append(
                {**own, **_pick(answer, _OF_ANSWER), **content_values(answer.content_hash), **score_values(answer.scored)}
            )
            new = {"b_state": "held", "b_answer": intent.attempt, "b_fingerprint": answer.fingerprint, "b_reason": answer.reason}
            held.append({**change, **new})
        elif item.request_state is not None:
            let_go.append(change)
    found = connection.execute(_LOG_DONE, logs).rowcount
    if found < len(items):
        _write_late(connection, items, logs, budgets, len(items) - found)
    write_budgets(connection, budgets)
    # a statement of its own: its columns are in an index, which every end would have to update otherwise
    if others := [row for item in items if (row := _who_answered(item))]:
        connection.execute(_LOG, others)
    if kept:
        connection.execute(insert(answers), kept)
        connection.execute(_HOLD, held)
    if let_go:
        connection.execute(_LET_GO, let_go)
    return [None] * len(items)


def _maybe_pico(item: Completion) -> int:
    """Maximum cost of a call beyond its known cost, in pico-dollars, if its billing is unclear; else 0."""
    return max(item.intent.reserve_pico, item.worst_pico) - item.cost_pico if item.billing == "maybe" else 0


def _who_answered(item: Completion) -> dict[str, Any] | None:
    """The columns to change in an attempt's row if another provider or model answered; else None."""
    intent = item.intent
    if item.provider in (None, intent.provider) and item.model is None and item.price is None:
        return None
    return {
        "b_request": intent.request_id,
        "b_attempt": intent.attempt,
        "provider": item.provider or intent.provider,
        "model": item.model or intent.model,
        "price": item.price or intent.price,
    }


def _write_late(
    connection: Connection,
    items: Sequence[Completion],
    logs: Sequence[dict[str, Any]],
    budgets: Mapping[str, dict[str, Any]],
    missing: int,
) -> None:
    """Record the ends of calls that were recorded as lost, because their process was silent for longer than its lease. Their
    reservations were moved to the amount maybe billed, and are taken from there."""
    row = generation_logs.c
    query = select(row.request_id, row.attempt, row.maybe_pico).where(
        row.request_id.in_([item.intent.request_id for item in items]), row.status == "lost"
    )
    lost = {(request, attempt): pico for request, attempt, pico in connection.execute(query)}
    late = [(item, log) for item, log in zip(items, logs, strict=True) if (item.intent.request_id, item.intent.attempt) in lost]
    if not late or connection.execute(_LOG_LATE, [log for _, log in late]).rowcount < missing:
        raise LedgerError("a call was to be written down that was never begun, or whose end has been written down before")
    for item, _ in late:
        for scope in item.intent.limits:
            budgets[scope]["reserved_pico"] += item.intent.reserve_pico
            budgets[scope]["maybe_pico"] -= lost[item.intent.request_id, item.intent.attempt]


def content_values(content_hash: str | None) -> dict[str, str | None]:
    """The columns that identify duplicates of a conversation."""
    return {"content_hash": content_hash, "content_key": content_hash and content_hash[:CONTENT_KEY]}


def score_values(scored: Scored | None) -> dict[str, Any]:
    """The columns for a score and the result of each scorer."""
    if scored is None:
        return dict.fromkeys(SCORE_COLUMNS)
    quality = scored.quality
    results = [(one.name, one.version, one.points, one.maximum, one.verdict, one.reason) for one in quality.results]
    rejection = quality.rejection
    values = (scored.rubric, quality.score, rejection and rejection[0], orjson.dumps(results).decode())
    return dict(zip(SCORE_COLUMNS, values, strict=True))


def read_quality(score: int | None, results: str | None) -> Quality | None:
    """Read the quality from its columns; None if not scored."""
    if score is None:
        return None
    return Quality(score, tuple(ScorerResult(*one) for one in orjson.loads(results or "[]")))
