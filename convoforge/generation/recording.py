"""The result of a call as the ledger keeps it: an answer, parsed and priced, or a failure with what it may have cost. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from convoforge.billing_terms import billed_under
from convoforge.candidates import ConversationCandidate, parse_candidates
from convoforge.dataset.acceptance import judge_quality
from convoforge.errors import (
    ClaudeAPIError,
    ConvoforgeError,
    GenerationValidationError,
    LimiterClosed,
    ParseError,
    RateLimitError,
    RejectedError,
    TransientError,
    UnreadableError,
)
from convoforge.generation.answering_model import is_other_model, price_answered
from convoforge.ledger.answers import write_conversation
from convoforge.ledger.attempts import AnswerRow, Completion, Intent
from convoforge.models import AnswerKind, Asked, Conversation, Outcome, Prompt, Quality, Reply, Status
from convoforge.parsing import parse_conversation
from convoforge.planning.keys import conversation_id, draw_key, request_fingerprint
from convoforge.planning.spec import Generation
from convoforge.pricing import Price, cost_pico, usd
from convoforge.scoring import Scored, content_hash

MAX_ERROR_CHARS = 400
"""Maximum characters kept of an internal error: some repeat all their input."""

_MAX_QUOTED = 200
"""Maximum characters quoted from a system turn that the model wrote: enough to recognize it."""

_MUCH_THOUGHT = 0.2
"""Share of the output tokens of a cut-off answer above which thinking is named as the reason."""

_STOPS = {
    "refusal": AnswerKind.REFUSED,
    "max_tokens": AnswerKind.TRUNCATED,
    "model_context_window_exceeded": AnswerKind.CONTEXT_OVERFLOW,
}
_WHY = {
    AnswerKind.REFUSED: "the model declined",
    AnswerKind.TRUNCATED: "the answer was cut off at max_tokens: raise generation.max_tokens",
    AnswerKind.CONTEXT_OVERFLOW: "prompt and answer exceed the model's context window",
}


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An answer, ready to be recorded, with what was found in it. `unscored` is the error if a conversation has no quality."""

    completion: Completion
    kind: AnswerKind
    conversation: Conversation | None
    fault: ConvoforgeError | None
    quality: Quality | None
    note: str = ""
    unscored: ConvoforgeError | None = None

    def status(self, min_score: int) -> Status:
        """Status of the answered draw, before duplicates are looked for. What a judge has answered is always kept."""
        if self.kind is AnswerKind.JUDGED:
            return Status.ACCEPTED
        if self.quality is None:
            return Status.DROPPED if self.conversation is None else Status.NEEDS_REVISION
        return judge_quality(self.quality, min_score)[0]

    def faults(self, min_score: int) -> tuple[str, ...]:
        """Reasons why the answer is not accepted, before duplicates are looked for; empty if it is."""
        if self.quality is None:
            return (str(self.fault or self.unscored),)
        status, why = judge_quality(self.quality, min_score)
        return () if status is Status.ACCEPTED else tuple(dict.fromkeys((why, *self.quality.reasons)))

    @property
    def content_hash(self) -> str | None:
        """Hash of the conversation's content, to find duplicates; None if there is no conversation."""
        return self.completion.answer.content_hash if self.completion.answer else None

    def outcome(self, min_score: int, attempts: int) -> Outcome:
        """The outcome for the caller."""
        done, quality, answer = self.completion, self.quality, self.completion.answer
        return Outcome(
            status=self.status(min_score),
            kind=self.kind,
            conversation=self.conversation,
            quality=quality,
            usage=done.usage,
            cost_usd=usd(done.cost_pico),
            attempts=attempts,
            duration_ms=done.latency_ms,
            reason=str(self.fault) if self.fault else "; ".join(filter(None, [self.note, *(quality.reasons if quality else ())])),
            error=self.fault,
            conversation_id=answer.conversation_id if answer else None,
            model=done.answered_model or done.intent.model,
            api_request_id=done.api_request_id,
            provider="simulator" if done.intent.provider == "simulator" else "anthropic",
            finished_at=done.finished_at,
            temperature_applied=answer is not None and answer.temperature_applied,
        )


def asked_of(prompt: Prompt, model: str, settings: Generation, template_version: str) -> Asked:
    """The part of a sent request that the ledger keeps."""
    fingerprint = request_fingerprint(model, prompt, settings)
    beside = {
        **({"avoid": prompt.avoid} if prompt.avoid else {}),
        **({"candidates": settings.candidates} if settings.candidates > 1 else {}),
    }
    drawn = json.dumps({**json.loads(prompt.drawn or "{}"), **beside}) if beside else prompt.drawn
    return Asked(fingerprint, template_version, prompt.conversation_system, settings.temperature, drawn)


def record_answer(
    intent: Intent,
    asked: Asked,
    cell: str,
    draw: int,
    reply: Reply,
    price: Price,
    finished_at: datetime,
    latency_ms: int,
    *,
    score: Callable[[Conversation], Scored],
    keep_score: bool = False,
    repeats: Callable[[Conversation], bool] = lambda _: False,
) -> RecordedAnswer:
    """Make the record of an answer of any kind. It was paid, whatever it contains, and even if a scorer fails. Of several conversations
    it keeps the best: `repeats` says which is known already.

    The score is only for progress and for the waiting caller; with `keep_score` it is recorded too.
    """
    drawn = json.loads(asked.drawn or "{}")
    several = "candidates" in drawn
    kind, found, fault = (
        _read(reply, several=several) if intent.purpose == "conversation" else (AnswerKind.JUDGED, (), _read_stop(reply)[1])
    )
    # the system turn for training comes from the template only: an answer could put anything there
    said = [one.conversation.system for one in found]
    found = [ConversationCandidate(replace(one.conversation, system=asked.conversation_system), one.likelihood) for one in found]
    at, scored, unscored = _choose(found, score, repeats)
    conversation = found[at].conversation if found else None
    note = _note_dropped(said[at] or "") if found and said[at] else ""
    if several and found:
        drawn |= {"likelihood": found[at].likelihood, "chosen": f"{at + 1} of {len(found)}"}
    answer = AnswerRow(
        conversation_id=conversation_id(draw_key(cell, draw), asked.fingerprint),
        fingerprint=asked.fingerprint,
        kind=kind.value,
        turns=write_conversation(conversation) if conversation else None,
        system=conversation.system if conversation else None,
        raw_text=None if conversation or (fault and kind is AnswerKind.JUDGED) else _storable(reply.text),
        reason=str(fault) if fault else note or None,
        template_version=asked.template_version,
        temperature=asked.temperature,
        temperature_applied=reply.temperature_applied,
        scored=scored if keep_score else None,
        content_hash=content_hash(conversation) if conversation else None,
        drawn=json.dumps(drawn) if several else asked.drawn or None,
    )
    completion = Completion(
        intent,
        status="succeeded",
        **_charged(intent, reply, price),
        finished_at=finished_at,
        latency_ms=latency_ms,
        api_request_id=reply.request_id,
        stop_reason=reply.stop_reason,
        answer=answer,
    )
    return RecordedAnswer(completion, kind, conversation, fault, scored.quality if scored else None, note, unscored)


def _choose(
    found: Sequence[ConversationCandidate], score: Callable[[Conversation], Scored], repeats: Callable[[Conversation], bool]
) -> tuple[int, Scored | None, ConvoforgeError | None]:
    """Which conversation of an answer is kept, and its score, or why it has none. First those that no filter rejects, then what is new,
    then the score; of equal ones that which the model would write most seldom."""
    ranked = []
    for at, one in enumerate(found):
        try:
            scored = score(one.conversation)
        except ConvoforgeError as error:
            return at, None, error
        new = len(found) > 1 and not repeats(one.conversation)
        ranked.append(((scored.quality.rejection is None, new, scored.quality.score, -one.likelihood), -at, scored))
    best = max(ranked, key=lambda one: one[:2], default=None)
    return (-best[1], best[2], None) if best else (0, None, None)


def check_usable(reply: Reply, recorded: RecordedAnswer) -> None:
    """Raise `TransientError` for an answer that holds no conversation and is incomplete: its usage is missing, or it ended early.
    An answer with a conversation was paid, and is kept whatever else is missing; so is a judge's that is complete."""
    if recorded.conversation is not None or (recorded.kind is AnswerKind.JUDGED and reply.stop_reason is not None):
        return
    facts: dict[str, Any] = {"request_id": reply.request_id, "maybe_billed": True}
    if not reply.usage_known:
        raise UnreadableError("the answer has no plausible usage and holds no conversation", kind="bad_usage", **facts)
    if reply.stop_reason is None:
        raise TransientError("the answer ended before it was complete", kind="incomplete", **facts)


def _charged(intent: Intent, reply: Reply, price: Price) -> dict[str, Any]:
    """The cost of a reply, by the price of the model that answered and the terms that the reply names. If its usage, or the price
    of that model or those terms, is unknown, it counts as maybe billed, at its worst case."""
    other = is_other_model(intent.model, reply.model)
    paid = price_answered(reply.model, batch=intent.batch_id is not None) if other else price
    found = billed_under(paid, reply.model or intent.model, reply.terms) if paid and reply.usage_known else None
    cost = cost_pico(reply.usage, found.price) if found else 0
    text = found.price.text if found else paid.text if paid and other else None
    return {
        "billing": "billed" if found and not found.unknown else "maybe",
        "usage": reply.usage,
        "usage_known": reply.usage_known,
        "terms": reply.terms,
        "cost_pico": cost,
        "worst_pico": cost or cost_pico(reply.usage, price),
        "model": reply.model if other else None,
        "price": text if text != intent.price else None,
        "answered_model": reply.model if reply.model not in ("", intent.model) else None,
    }


def _storable(text: str) -> str:
    """The text without NUL and lone surrogates, which databases and HTTP refuse."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def record_failure(
    intent: Intent,
    error: Exception,
    reply: Reply | None,
    price: Price,
    finished_at: datetime,
    latency_ms: int,
    *,
    fingerprint: str,
    pending: bool = False,
) -> Completion:
    """Make the record of a failed call. An unusable answer was paid all the same; a call with a bug of ours may have been.
    `pending`: there is no retry now, and the request becomes pending again."""
    unsent = isinstance(error, LimiterClosed | RateLimitError)
    words = f"not sent: {error}" if unsent else repr(error)
    failure = error if isinstance(error, ClaudeAPIError) else ClaudeAPIError(words[:MAX_ERROR_CHARS], maybe_billed=not unsent)
    rejected = isinstance(error, RejectedError)
    return Completion(
        intent,
        status="failed",
        **(_charged(intent, reply, price) if reply else {"billing": "maybe" if failure.maybe_billed else "none"}),
        finished_at=finished_at,
        latency_ms=latency_ms,
        provider=reply.provider if reply else None,
        error_kind=failure.kind or type(error).__name__,
        error=str(failure),
        http_status=failure.status,
        api_request_id=failure.request_id,
        request_state="failed" if rejected else "pending" if pending else None,
        fingerprint=fingerprint if rejected else None,
        reason=str(failure) if rejected or pending else None,
    )


def _note_dropped(system: str) -> str:
    quoted = " ".join(system.split())
    quoted = quoted if len(quoted) <= _MAX_QUOTED else f"{quoted[:_MAX_QUOTED]} …"
    return f"the model wrote a system turn, which was dropped: {quoted!r}"


def _why(kind: AnswerKind, reply: Reply) -> str:
    thought, written = reply.usage.thinking_tokens, reply.usage.output_tokens
    if kind is AnswerKind.TRUNCATED and thought >= written * _MUCH_THOUGHT:
        return (
            f"the answer was cut off at max_tokens: {thought:,} of its {written:,} tokens were thinking. Set generation.thinking to off "
            "or generation.effort lower, or raise generation.max_tokens"
        )
    return _WHY[kind] + (f" ({reply.refusal_category})" if reply.refusal_category else "")


def _read_stop(reply: Reply) -> tuple[AnswerKind, ConvoforgeError | None]:
    """What an answer is by the reason why it stopped, and the fault of one that is not complete."""
    kind = _STOPS.get(reply.stop_reason or "", AnswerKind.OK)
    fault = GenerationValidationError(_why(kind, reply), details={"stop_reason": reply.stop_reason}) if kind in _WHY else None
    return kind, fault


def _read(reply: Reply, *, several: bool) -> tuple[AnswerKind, Sequence[ConversationCandidate], ConvoforgeError | None]:
    kind, fault = _read_stop(reply)
    if fault is not None and not (several and kind is AnswerKind.TRUNCATED):  # of several, the first ones may be complete
        return kind, (), fault
    try:
        found = parse_candidates(reply.text) if several else [ConversationCandidate(parse_conversation(reply.text), 1.0)]
    except (ParseError, GenerationValidationError) as error:
        if fault is not None:
            return kind, (), fault
        if isinstance(error, ParseError):
            error.content = _storable(error.content)
        return AnswerKind.PARSE_ERROR if isinstance(error, ParseError) else AnswerKind.INVALID, (), error
    return AnswerKind.OK, found, None
