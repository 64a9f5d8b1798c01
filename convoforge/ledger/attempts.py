"""Writing down attempts: an intent and its reservation before the call, usage, cost and answer after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, func, insert, select, update

from convoforge.errors import LedgerError
from convoforge.ledger.dialects import upsert
from convoforge.ledger.rollups import CONTENT_KEY, Page, hour_of, put_on_pages
from convoforge.ledger.tables import answers, budgets, generation_logs, requests
from convoforge.models import Terms, Usage
from convoforge.scoring import Scored

SCORE_COLUMNS = ("rubric", "score", "score_turns", "score_length", "score_structure", "reasons", "content_hash", "content_key")


@dataclass(frozen=True, slots=True)
class Denied:
    """A reservation that does not fit. `in_flight_pico` is what others have reserved and may give back."""

    scope: str
    limit_pico: int
    spent_pico: int
    in_flight_pico: int


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
    """What came back: the turns as JSON, or the raw text where there is no conversation in it. A conversation has been scored.
    `template_system` says that `system` is the template's, or that the template has none."""

    conversation_id: str
    sent: str
    kind: str
    turns: str | None
    system: str | None
    raw_text: str | None
    reason: str | None
    template_version: str
    temperature: float | None
    temperature_applied: bool
    scored: Scored | None
    template_system: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call ended. `billing` is billed, none or maybe. `request_state` is what the request becomes: held, failed, pending, or
    None where another attempt follows. `provider` is who answered, and `model` and `price` what, if another did than was meant to;
    `answered_model` is the answer's own name for it where it differs at all. `worst_pico` is what it cost at least where billing is maybe;
    without `usage_known` no usage was told."""

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
    sent: str | None = None
    reason: str | None = None
    model: str | None = None
    price: str | None = None
    answered_model: str | None = None
    usage_known: bool = True
    worst_pico: int = 0
    terms: Terms = Terms()


def scopes(run_id: str, dataset_id: int, at: datetime) -> tuple[str, str, str]:
    """The three budgets a call counts against: its run, its dataset, its dataset's UTC day."""
    return f"run:{run_id}", f"dataset:{dataset_id}", f"day:{dataset_id}:{at:%Y-%m-%d}"


def start_attempts(connection: Connection, items: Sequence[Intent]) -> Sequence[Denied | None]:
    """Write intents and reserve their worst case, in order; `Denied` for one that does not fit into a budget."""
    books = read_budgets(connection, {scope for item in items for scope in item.limits})
    results: list[Denied | None] = []
    rows = []
    for item in items:
        denied = next((d for d in (_fits(books[s], s, limit, item.reserve_pico) for s, limit in item.limits.items()) if d), None)
        results.append(denied)
        if denied is not None:
            continue
        for scope, limit in item.limits.items():
            books[scope]["reserved_pico"] += item.reserve_pico
            books[scope]["limit_pico"] = limit
        rows.append(
            {
                "request_id": item.request_id,
                "attempt": item.attempt,
                "run_id": item.run_id,
                "dataset_id": item.dataset_id,
                "owner": item.owner,
                "provider": item.provider,
                "model": item.model,
                "template": item.template,
                "api_key": item.api_key,
                "batch_id": item.batch_id,
                "price": item.price,
                "status": "open",
                "billing": "maybe",
                "started_at": item.started_at,
                "reserved_pico": item.reserve_pico,
            }
        )
    if rows:
        write_budgets(connection, books)
        connection.execute(insert(generation_logs), rows)
    return results


_LOG = update(generation_logs).where(
    generation_logs.c.request_id == bindparam("b_request"),
    generation_logs.c.attempt == bindparam("b_attempt"),
)
_LOG_DONE = _LOG.where(generation_logs.c.status == "open")
_LOG_LATE = _LOG.where(generation_logs.c.status == "lost")
_HOLD = (
    update(requests)
    .where(requests.c.id == bindparam("b_request"))
    .values(
        state=bindparam("b_state"),
        owner=None,
        answer=bindparam("b_answer"),
        sent=bindparam("b_sent"),
        reason=bindparam("b_reason"),
    )
)
_LET_GO = (
    update(requests)
    .where(requests.c.id == bindparam("b_request"))
    .values(
        state=bindparam("b_state"),
        owner=None,
        sent=func.coalesce(bindparam("b_sent"), requests.c.sent),
        reason=bindparam("b_reason"),
    )
)


def finish_attempts(connection: Connection, items: Sequence[Completion]) -> Sequence[None]:
    """Write how calls ended: log with its page, answer, request and budgets together, or nothing of it.

    A call whose process was taken for dead has ended after all: it is no longer lost. Raises `LedgerError` for one that was never
    begun, or whose end has been written before: what it cost must not be booked twice.
    """
    books = read_budgets(connection, {scope for item in items for scope in item.intent.limits})
    logs, held, let_go, kept = [], [], [], []
    on_page = put_on_pages(connection, [_entry(item) for item in items])
    for item, page in zip(items, on_page, strict=True):
        intent = item.intent
        for scope in intent.limits:
            book = books[scope]
            book["reserved_pico"] -= intent.reserve_pico
            book["spent_pico"] += item.cost_pico
            # What may have been billed without our being told counts at its worst case, so that no cap is passed.
            book["maybe_pico"] += _maybe(item)
        usage = item.usage
        logs.append(
            {
                "b_request": intent.request_id,
                "b_attempt": intent.attempt,
                "status": item.status,
                "billing": item.billing,
                "api_key": intent.api_key,
                "error_kind": item.error_kind,
                "error": item.error,
                "http_status": item.http_status,
                "api_request_id": item.api_request_id,
                "stop_reason": item.stop_reason,
                "answered_model": item.answered_model,
                "usage_known": item.usage_known,
                "inference_geo": item.terms.inference_geo,
                "service_tier": item.terms.service_tier,
                "speed": item.terms.speed,
                "finished_at": item.finished_at,
                "latency_ms": item.latency_ms,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cache_write_5m_tokens": usage.cache_write_5m_tokens,
                "cache_write_1h_tokens": usage.cache_write_1h_tokens,
                "thinking_tokens": usage.thinking_tokens,
                "cost_pico": item.cost_pico,
                "reserved_pico": 0,
                "maybe_pico": _maybe(item),
            }
        )
        answer = item.answer
        if answer is not None:
            kept.append(
                {
                    "request_id": intent.request_id,
                    "attempt": intent.attempt,
                    "conversation_id": answer.conversation_id,
                    "sent": answer.sent,
                    "kind": answer.kind,
                    "turns": answer.turns,
                    "system": answer.system,
                    "template_system": answer.template_system,
                    "raw_text": answer.raw_text,
                    "reason": answer.reason,
                    "template_version": answer.template_version,
                    "temperature": answer.temperature,
                    "temperature_applied": answer.temperature_applied,
                    "generated_at": item.finished_at,
                    "page": page,
                    "paid_pico": item.cost_pico,
                    "latency_ms": item.latency_ms,
                    **score_values(answer.scored),
                }
            )
            held.append(
                {
                    "b_request": intent.request_id,
                    "b_state": "held",
                    "b_answer": intent.attempt,
                    "b_sent": answer.sent,
                    "b_reason": answer.reason,
                }
            )
        elif item.request_state is not None:
            let_go.append(
                {"b_request": intent.request_id, "b_state": item.request_state, "b_sent": item.sent, "b_reason": item.reason}
            )
    found = connection.execute(_LOG_DONE, logs).rowcount
    if found < len(items):
        _write_late(connection, items, logs, books, len(items) - found)
    write_budgets(connection, books)
    # by itself, as it is in an index that every end would otherwise write
    if others := [row for item in items if (row := _who_answered(item))]:
        connection.execute(_LOG, others)
    if kept:
        connection.execute(insert(answers), kept)
        connection.execute(_HOLD, held)
    if let_go:
        connection.execute(_LET_GO, let_go)
    return [None] * len(items)


def _maybe(item: Completion) -> int:
    """The worst that a call may have cost beyond what is known, in pico-dollars, where nobody knows what it was billed."""
    return max(item.intent.reserve_pico, item.worst_pico) - item.cost_pico if item.billing == "maybe" else 0


def _entry(item: Completion) -> tuple[Page, tuple[int, ...]]:
    intent, usage = item.intent, item.usage
    page = Page(
        intent.run_id,
        hour_of(intent.started_at),
        intent.template,
        item.status,
        item.billing,
        intent.dataset_id,
        item.provider or intent.provider,
        item.model or intent.model,
        item.price or intent.price or "",
        intent.batch_id is not None,
    )
    return page, (
        1,
        int(intent.attempt > 1),
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.thinking_tokens,
        item.cost_pico,
        _maybe(item),
    )


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
    books: Mapping[str, dict[str, Any]],
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
            books[scope]["reserved_pico"] += item.intent.reserve_pico
            books[scope]["maybe_pico"] -= lost[item.intent.request_id, item.intent.attempt]


def score_values(scored: Scored | None) -> dict[str, Any]:
    """The columns that hold a score with its breakdown."""
    if scored is None:
        return dict.fromkeys(SCORE_COLUMNS)
    quality = scored.quality
    reasons = orjson.dumps(quality.reasons).decode() if quality.reasons else None
    parts = (quality.score, quality.turns, quality.length, quality.structure)
    values = (scored.rubric, *parts, reasons, scored.content_hash, scored.content_hash[:CONTENT_KEY])
    return dict(zip(SCORE_COLUMNS, values, strict=True))


def read_budgets(connection: Connection, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The budgets called `names`, locked until the transaction ends; zeros where there is none yet."""
    names = sorted(names)  # one order for everyone: no deadlock
    fresh = {name: {"limit_pico": None, "reserved_pico": 0, "spent_pico": 0, "maybe_pico": 0} for name in names}
    if not names:
        return fresh
    if connection.dialect.name == "postgresql":
        connection.execute(upsert("postgresql", budgets).on_conflict_do_nothing(), [{"scope": name} for name in names])
    query = select(budgets).where(budgets.c.scope.in_(names)).order_by(budgets.c.scope).with_for_update()
    for row in connection.execute(query).mappings():
        fresh[row["scope"]] = {key: row[key] for key in ("limit_pico", "reserved_pico", "spent_pico", "maybe_pico")}
    return fresh


def read_spent(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """What of each budget is spent, may be, or is set aside for calls in flight, in pico-dollars; locks nothing."""
    one = budgets.c
    query = select(one.scope, one.spent_pico + one.maybe_pico + one.reserved_pico).where(one.scope.in_(list(names)))
    return dict.fromkeys(names, 0) | {scope: int(spent) for scope, spent in connection.execute(query)}


def write_budgets(connection: Connection, books: Mapping[str, Mapping[str, Any]]) -> None:
    """Put back what `read_budgets` read, changed."""
    if not books:
        return
    statement = upsert(connection.dialect.name, budgets)
    changed = {key: statement.excluded[key] for key in ("limit_pico", "reserved_pico", "spent_pico", "maybe_pico")}
    rows = [{"scope": scope, **book} for scope, book in books.items()]
    connection.execute(statement.on_conflict_do_update(index_elements=["scope"], set_=changed), rows)


def _fits(book: Mapping[str, Any], scope: str, limit: int | None, reserve: int) -> Denied | None:
    if limit is None or book["spent_pico"] + book["maybe_pico"] + book["reserved_pico"] + reserve <= limit:
        return None
    return Denied(scope, limit, book["spent_pico"] + book["maybe_pico"], book["reserved_pico"])
