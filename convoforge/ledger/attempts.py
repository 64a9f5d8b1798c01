"""Writing down attempts: an intent and its reservation before the call, usage, cost and answer after it."""

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
from convoforge.models import Quality, ScorerResult, Terms, Usage
from convoforge.scoring import Scored

CONTENT_KEY = 12
"""Characters of a content's hash that are kept as its key. Contents whose keys are alike are compared by their whole hash."""

SCORE_COLUMNS = ("rubric", "score", "rejection", "results")


@dataclass(frozen=True, slots=True)
class Intent:
    """A call about to be made. `limits` are the budgets it must fit into: scope → pico-dollars, None without a cap. `batch_id` is the
    ledger's id of the message batch it is a part of, if it is."""

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


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """What came back: the turns as JSON, or the raw text where there is no conversation in it. `scored` is there where nobody scores it
    later. `system` is the template's system turn, never one that the model wrote."""

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


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call ended. `billing` is billed, none or maybe. `request_state` is what the request becomes: held, failed, pending, or
    None where another attempt follows. `provider` is who answered, and `model` and `price` what, if another did than was meant to;
    `answered_model` is the answer's own name for it where it differs at all. `worst_pico` is what it cost at least where billing is maybe;
    without `usage_known` no usage is known."""

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
    """The fields of a dataclass that a table has columns for."""
    return tuple(name for name in kind.__dataclass_fields__ if name in table.c and name not in but)


_OF_INTENT = _columns(Intent, generation_logs)
_OF_COMPLETION = _columns(Completion, generation_logs, "provider", "model", "price")  # see `_who_answered`
_OF_ANSWER = _columns(AnswerRow, answers)


def _pick(value: object, names: Iterable[str]) -> dict[str, Any]:
    """What a row says in columns that are called as in `value`."""
    return {name: getattr(value, name) for name in names}


def read_intent(row: Any, limits: Mapping[str, int | None]) -> Intent:
    """The intent of an attempt that is open, from its row in the log."""
    return Intent(**_pick(row, _OF_INTENT), reserve_pico=row.reserved_pico, limits=limits)


def start_attempts(connection: Connection, items: Sequence[Intent]) -> Sequence[Denied | None]:
    """Write intents and reserve their worst case, in order; `Denied` for one that does not fit into a budget."""
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
    """Write how calls ended: log, answer, request and budgets together, or nothing of it.

    A call whose process was taken for dead has ended after all: it is no longer lost. Raises `LedgerError` for one that was never
    begun, or whose end has been written before: what it cost must not be counted twice.
    """
    budgets = read_budgets(connection, {scope for item in items for scope in item.intent.limits})
    logs, kept, held, let_go = [], [], [], []
    for item in items:
        intent, answer, maybe = item.intent, item.answer, _maybe_pico(item)
        for scope in intent.limits:
            budget = budgets[scope]
            budget["reserved_pico"] -= intent.reserve_pico
            budget["spent_pico"] += item.cost_pico
            # What may have been billed without our knowing counts at its worst case, so that no cap is passed.
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
    # by itself, as it is in an index that every end would otherwise write
    if others := [row for item in items if (row := _who_answered(item))]:
        connection.execute(_LOG, others)
    if kept:
        connection.execute(insert(answers), kept)
        connection.execute(_HOLD, held)
    if let_go:
        connection.execute(_LET_GO, let_go)
    return [None] * len(items)


def _maybe_pico(item: Completion) -> int:
    """The worst that a call may have cost beyond what is known, in pico-dollars, where nobody knows what it was billed."""
    return max(item.intent.reserve_pico, item.worst_pico) - item.cost_pico if item.billing == "maybe" else 0


def _who_answered(item: Completion) -> dict[str, Any] | None:
    """What an attempt's row says of who was asked, where another has answered."""
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
    """Ends of calls that were kept as lost, because their process was silent for longer than its lease: what they reserved has been
    moved to what may have been billed, and comes from there."""
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
    """The columns by which a conversation is known again."""
    return {"content_hash": content_hash, "content_key": content_hash and content_hash[:CONTENT_KEY]}


def score_values(scored: Scored | None) -> dict[str, Any]:
    """The columns that hold a score, and the result of each scorer."""
    if scored is None:
        return dict.fromkeys(SCORE_COLUMNS)
    quality = scored.quality
    results = [(one.name, one.version, one.points, one.maximum, one.verdict, one.reason) for one in quality.results]
    rejection = quality.rejection
    values = (scored.rubric, quality.score, rejection and rejection[0], orjson.dumps(results).decode())
    return dict(zip(SCORE_COLUMNS, values, strict=True))


def read_quality(score: int | None, results: str | None) -> Quality | None:
    """The quality in those columns; None where it has not been scored."""
    if score is None:
        return None
    return Quality(score, tuple(ScorerResult(*one) for one in orjson.loads(results or "[]")))
